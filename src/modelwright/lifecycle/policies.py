"""What the project file says of a model."""

from __future__ import annotations

from modelwright.ports.platform import ModelPolicy, Platform


def policy_of(platform: Platform, model: str) -> ModelPolicy:
    """The project file's policy for the model, or the defaults."""
    return platform.policies.get(model, ModelPolicy())
