"""modelwright inside a Python program: pack a model, open a package, predict; no server and no registry."""

from __future__ import annotations

from modelwright.core.signature import InputPolicy
from modelwright.interfaces.embedded.graphs import pack_graph
from modelwright.interfaces.embedded.packing import PackedModel, open_package, pack

__all__ = ["InputPolicy", "PackedModel", "open_package", "pack", "pack_graph"]
