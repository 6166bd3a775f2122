"""``graph.json``: several models that answer as one, what combines them, and where each input comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modelwright.core.errors import BadInputError

GRAPH_ROUTE = "graph"
MAX_NODES = 32
MEMBERS = "nodes"
"""The folder of a package that holds each model's own package under its node's name."""


def declared_in(path: Path) -> tuple[Path, str]:
    """The file of a declaration, and the name of the graph in it: ``modelwright.yaml#NAME`` names one of several.

    The name is empty where the file is one declaration, or no declaration at all.
    """
    file, mark, name = path.name.partition(".yaml#")
    return (path.with_name(f"{file}.yaml"), name) if mark and name else (path, "")


class GraphError(BadInputError):
    """A mistake in a graph's declaration; ``place`` is where in the YAML (and in ``graph.json``) it stands."""

    def __init__(
        self,
        code: str,
        what: str,
        *,
        place: str = "",
        why: str = "",
        fix: str = "",
        details: Mapping[str, object] | None = None,
    ) -> None:
        shown = f"{what.removesuffix('.')}, at {place}." if place else what
        super().__init__(code, shown, why=why, fix=fix, details={"place": place} if place else details)


Method = Literal["mean", "vote"]
Kind = Literal["model", "sequence", "ensemble", "stack", "switch", "fallback"]


@dataclass(frozen=True, slots=True)
class Wire:
    """Where a tensor, or one column of it, comes from: an output of ``node``, or (``node`` empty) the graph's input.

    ``column`` -1 is the whole tensor.
    """

    tensor: str
    node: str = ""
    column: int = -1

    def __str__(self) -> str:
        column = f".{self.column}" if self.column >= 0 else ""
        return f"{self.node}.{self.tensor}{column}" if self.node else f"input {self.tensor}{column}"


@dataclass(frozen=True, slots=True)
class Member:
    """A model: the digest of its package, how it was named when it was packed, and the source of each of its inputs.

    Several wires of one input stand side by side as its columns, in that order.
    """

    digest: str
    source: str
    inputs: dict[str, tuple[Wire, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Each step takes what the one before gives; the last one answers."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """All answer the same input; ``weights`` (one for each member, not negative) count them.

    ``mean`` averages class probabilities (the label is the first most probable class) or numbers; ``vote`` takes the
    label most of the weight is for, of several the one with the highest mean score, of these the first class.
    """

    members: tuple[str, ...]
    method: Method
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """``final`` takes what the members give, and answers."""

    members: tuple[str, ...]
    final: str


@dataclass(frozen=True, slots=True)
class Case:
    """Rows with one of these values, or from ``low`` to below ``high``, or with none (``missing``), go to ``node``."""

    node: str
    categories: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    missing: bool = False

    @property
    def says(self) -> str:
        """The condition in a few words."""
        if self.missing:
            return "missing"
        if self.categories or self.numbers:
            shown = [*self.categories, *(f"{number:g}" for number in self.numbers)]
            return ", ".join(shown[:4]) + (", ..." if len(shown) > 4 else "")
        low = "" if self.low is None else f"from {self.low:g} "
        return (low + ("" if self.high is None else f"below {self.high:g}")).strip()


@dataclass(frozen=True, slots=True)
class Switch:
    """The first case that holds for a row answers it, else ``default``. ``by`` names the feature or input looked at.

    ``tensor`` and ``column`` say where it stands in the graph's input.
    """

    by: str
    cases: tuple[Case, ...]
    default: str
    tensor: str = ""
    column: int = 0


@dataclass(frozen=True, slots=True)
class Fallback:
    """``first`` answers; where it fails, or takes longer than ``deadline_ms`` (0: any time), ``then`` does."""

    first: str
    then: str
    deadline_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Node:
    """One node: exactly one of its fields says what it is."""

    model: Member | None = None
    sequence: Sequence | None = None
    ensemble: Ensemble | None = None
    stack: Stack | None = None
    switch: Switch | None = None
    fallback: Fallback | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The fields that are there."""
        parts: tuple[tuple[Kind, object], ...] = (
            *(("model", self.model), ("sequence", self.sequence), ("ensemble", self.ensemble)),
            *(("stack", self.stack), ("switch", self.switch), ("fallback", self.fallback)),
        )
        return tuple(name for name, part in parts if part is not None)

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.kinds[0]

    @property
    def below(self) -> tuple[str, ...]:
        """The nodes that it is made of, in order, each once."""
        names: tuple[str, ...] = ()
        if self.sequence is not None:
            names = self.sequence.steps
        elif self.ensemble is not None:
            names = self.ensemble.members
        elif self.stack is not None:
            names = (*self.stack.members, self.stack.final)
        elif self.switch is not None:
            names = (*(case.node for case in self.switch.cases), self.switch.default)
        elif self.fallback is not None:
            names = (self.fallback.first, self.fallback.then)
        return tuple(dict.fromkeys(names))

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """The nodes that it is made of, each with when or how it is used, in a few words."""
        if self.switch is not None:
            cases = ((case.node, f"if {case.says}") for case in self.switch.cases)
            return (*cases, (self.switch.default, "else"))
        if self.fallback is not None:
            return ((self.fallback.first, "first"), (self.fallback.then, "else"))
        if self.ensemble is not None:
            pairs = zip(self.ensemble.members, self.ensemble.weights, strict=True)
            return tuple((member, f"weight {weight:g}") for member, weight in pairs)
        if self.stack is not None:
            return (*((member, "member") for member in self.stack.members), (self.stack.final, "final"))
        return tuple((step, f"step {index + 1}") for index, step in enumerate(self.below))

    @property
    def says(self) -> str:
        """What it does, in one line."""
        if self.model is not None:
            fed = [f"{name} from {', '.join(map(str, wires))}" for name, wires in self.model.inputs.items()]
            taken = "; ".join(one for one, wires in zip(fed, self.model.inputs.values(), strict=True) if _fed(wires))
            return f"{self.model.source}, {self.model.digest[:12]}" + (f"; {taken}" if taken else "")
        if self.ensemble is not None:
            way = "mean" if self.ensemble.method == "mean" else "vote"
            pairs = zip(self.ensemble.members, self.ensemble.weights, strict=True)
            return f"{way} of " + ", ".join(f"{member} ({weight:g})" for member, weight in pairs)
        if self.switch is not None:
            cases = (f"{case.says} to {case.node}" for case in self.switch.cases)
            return f"by {self.switch.by}: {'; '.join(cases)}; else {self.switch.default}"
        if self.fallback is not None:
            late = f" or takes over {self.fallback.deadline_ms:g} ms" if self.fallback.deadline_ms else ""
            return f"{self.fallback.first}; if it fails{late}, {self.fallback.then}"
        if self.stack is not None:
            return f"{' and '.join(self.stack.members)} into {self.stack.final}"
        return ", then ".join(self.below)

    @property
    def sources(self) -> tuple[str, ...]:
        """The nodes whose outputs a model takes, each once."""
        wires = self.model.inputs.values() if self.model is not None else ()
        return tuple(dict.fromkeys(wire.node for source in wires for wire in source if wire.node))


def _fed(wires: tuple[Wire, ...]) -> bool:
    """True where another node gives some of it."""
    return any(wire.node for wire in wires)


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by name; the node ``answer`` gives the graph's outputs."""

    answer: str
    nodes: dict[str, Node]

    @property
    def models(self) -> Iterator[tuple[str, Member]]:
        """The nodes that are models, in the order of the declaration."""
        return ((name, node.model) for name, node in self.nodes.items() if node.model is not None)

    def under(self, name: str) -> Iterator[str]:
        """A node and all that it is made of, each once."""
        seen, waiting = set(), [name]
        while waiting:
            here = waiting.pop()
            if here not in seen:
                seen.add(here)
                yield here
                waiting += reversed(self.nodes[here].below)
