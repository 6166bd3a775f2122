"""modelwright inside a Python program: pack a model, open a package, predict; no server and no registry."""

from __future__ import annotations

from modelwright.interfaces.embedded.packing import PackedModel, open_package, pack

__all__ = ["PackedModel", "open_package", "pack"]
