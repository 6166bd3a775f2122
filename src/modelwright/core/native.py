"""``native.json``: how a model that runs as code is opened and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelwright.core.errors import RefusedError

Isolation = Literal["strict", "standard", "off"]
NATIVE_ROUTE = "native"
MEMORY_BYTES = 16 * 2**30
"""Address space of a native model's process, where nobody says otherwise."""

IDLE_SHARE = 0.5
"""Share of a core that such a process may use while no request is with it, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Native:
    """A package whose ``description.route`` is ``native`` holds one; it is opened in a process of its own only.

    ``loader`` names who opens ``file``. ``isolation`` is the jail the model needs at least; an operator may ask for
    more, and for less only with a role. ``idempotent``: a request whose process died may be run again. ``streams``: it
    can answer in chunks. ``sequences``: it keeps state from one request of a sequence to the next. ``split``: one
    process gets all devices that were asked for, and spreads the model over them. ``learns``: it can learn from rows
    with their truth.
    """

    loader: str
    file: str
    isolation: Isolation = "strict"
    idempotent: bool = True
    streams: bool = False
    sequences: bool = False
    split: bool = False
    learns: bool = False


def require_jail(model: str, native: Native, least: Isolation) -> None:
    """Check that a model which asks for no jail may do without one here: ``least`` is the operator's setting.

    Raises:
        RefusedError: ``serve.isolation-off``.
    """
    if native.isolation == "off" and least != "off":
        raise RefusedError(
            "serve.isolation-off",
            f"Model {model!r} is packed to run its code without a jail, which is not allowed here.",
            why="Code without a jail reads, writes and sends whatever the account of this process may.",
            fix="Pack it with --isolation strict or standard. Where you trust its author, allow it: "
            "MODELWRIGHT_NATIVE_ISOLATION=off, or `modelwright serve --isolation off`.",
        )
