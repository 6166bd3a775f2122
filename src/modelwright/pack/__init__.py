"""Trained model + examples -> Package. What cannot be proven about a model is not claimed in its package."""

from __future__ import annotations

from modelwright.pack.build import Evidence, build

__all__ = ["Evidence", "build"]
