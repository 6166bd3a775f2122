"""``native.json``: how a model that runs as code is opened and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Isolation = Literal["strict", "standard", "off"]
NATIVE_ROUTE = "native"
MEMORY_BYTES = 16 * 2**30
"""Address space of a native model's process, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Native:
    """A package whose ``description.route`` is ``native`` holds one; it is opened in a process of its own only.

    ``loader`` names who opens ``file``. ``isolation`` is the jail the model needs at least; an operator may ask for
    more, and for less only with a role. ``idempotent``: a request whose process died may be run again. ``streams``: it
    can answer in chunks. ``sequences``: it keeps state from one request of a sequence to the next.
    """

    loader: str
    file: str
    isolation: Isolation = "strict"
    idempotent: bool = True
    streams: bool = False
    sequences: bool = False
