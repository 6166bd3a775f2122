"""Takes a trained model into production and keeps it healthy there.

>>> import modelwright as mw
>>> package = mw.pack(model, name="flight-delay", examples=X_val, labels=y_val, reference=X_train)  # doctest: +SKIP
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from modelwright.core.about import __version__

if TYPE_CHECKING:
    from modelwright.interfaces.embedded import InputPolicy as InputPolicy
    from modelwright.interfaces.embedded import PackedModel as PackedModel
    from modelwright.interfaces.embedded import open_package as open_package
    from modelwright.interfaces.embedded import pack as pack
    from modelwright.interfaces.embedded import pack_graph as pack_graph

# ONNX Runtime 1.29 and later collects usage from the moment it is imported; nothing but this variable stops it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["InputPolicy", "PackedModel", "__version__", "open_package", "pack", "pack_graph"]


def __getattr__(name: str) -> object:
    """Load the public names on first use, so that importing a part costs only that part."""
    if name in {"InputPolicy", "PackedModel", "open_package", "pack", "pack_graph"}:
        from modelwright.interfaces import embedded  # lazy: a scoring process never needs it

        return getattr(embedded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Root(ModuleType):
    """Keeps ``modelwright.pack`` the function, whoever imports the stage of that name: importing binds a submodule."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "pack" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Root
