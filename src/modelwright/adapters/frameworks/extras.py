"""What an adapter needs besides the core, and the words where it is not there."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from modelwright.core.errors import BadInputError

TORCH_FIRST = "Install torch from your platform's package index, then: "


def require(modules: Iterable[str], extra: str, why: str, *, first: str = "Install it with: ") -> None:
    """Check that the modules can be imported; imports none of them.

    Raises:
        BadInputError: ``pack.missing-extra``.
    """
    absent = next((name for name in modules if find_spec(name) is None), "")
    if absent:
        raise BadInputError(
            "pack.missing-extra",
            f"{absent} is not installed.",
            why=why,
            fix=f"{first}pip install 'modelwright[{extra}]'",
        )
