"""What a native model can do, and what it is told of the sequence that a request belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class Sequence:
    """Given to a ``predict`` that has a parameter ``sequence``: the sequence that the request belongs to.

    ``start`` and ``end`` tell that the request is its first or its last one. ``state`` is the model's own, the same
    dictionary at each request of the sequence, and gone with it.
    """

    id: str
    start: bool = False
    end: bool = False
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a loader found: ``predict``, maybe ``stream``, and whether ``predict`` takes ``sequence``.

    ``learn`` takes input tensors and the truth [n], or None for a model that needs none, and changes the model;
    ``content`` gives its file as it is then.
    """

    predict: Callable[..., Mapping[str, Any]]
    stream: Callable[[Feeds], Iterable[Mapping[str, Any]]] | None = None
    takes_sequence: bool = False
    learn: Callable[[Feeds, NDArray[Any] | None], None] | None = None
    content: Callable[[], bytes] | None = None
