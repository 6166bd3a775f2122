"""``graph.json``: several models that answer as one, what combines them, and where each input comes from."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from modelwright.core.errors import BadInputError
from modelwright.core.names import suggest

GRAPH_ROUTE = "graph"
MAX_NODES = 32
MEMBERS = "nodes"
"""The folder of a package that holds each model's own package under its node's name."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
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
    def sources(self) -> tuple[str, ...]:
        """The nodes whose outputs a model takes, each once."""
        wires = self.model.inputs.values() if self.model is not None else ()
        return tuple(dict.fromkeys(wire.node for source in wires for wire in source if wire.node))


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


def graph_error(code: str, place: str, what: str, *, why: str = "", fix: str = "") -> BadInputError:
    """An error of a graph's declaration; ``place`` is where in the YAML (and in ``graph.json``) it stands."""
    return BadInputError(
        f"graph.{code}", f"{what.removesuffix('.')}, at {place}.", why=why, fix=fix, details={"place": place}
    )


def check_structure(graph: Graph) -> None:
    """Names, numbers and edges, before any model is looked at.

    Raises:
        BadInputError: ``graph.too-many-nodes``, ``graph.bad-name``, ``graph.unknown-node``, ``graph.cycle``,
            ``graph.unused-node``, ``graph.invalid``.
    """
    if not 0 < len(graph.nodes) <= MAX_NODES:
        raise graph_error("too-many-nodes", "nodes", f"A graph has 1 to {MAX_NODES} nodes, not {len(graph.nodes)}")
    for name, node in graph.nodes.items():
        if not _NAME.fullmatch(name):
            raise graph_error(
                "bad-name",
                f"nodes.{name[:80]}",
                f"{name[:80]!r} cannot be the name of a node",
                why="A name has 1 to 63 characters: a-z, 0-9, '_' and '-', and starts with a letter or digit.",
            )
        if len(node.kinds) != 1:
            raise graph_error("invalid", f"nodes.{name}", "A node is one of model, sequence, ensemble, ...")
        for other in (*node.below, *node.sources):
            _known(graph.nodes, other, f"nodes.{name}")
        _check_values(name, node)
    _known(graph.nodes, graph.answer, "answer")
    used = _reached(graph)
    for name in graph.nodes:
        if name not in used:
            raise graph_error(
                "unused-node",
                f"nodes.{name}",
                f"Node {name!r} is used by none that leads to the answer {graph.answer!r}",
                fix="Use it, or take it out.",
            )


def _known(nodes: Mapping[str, Node], name: str, place: str) -> None:
    if name not in nodes:
        raise graph_error("unknown-node", place, f"There is no node {name[:80]!r}", fix=suggest(name, nodes))


def _check_values(name: str, node: Node) -> None:
    ensemble, fallback, place = node.ensemble, node.fallback, f"nodes.{name}"
    if not node.model and not node.below:
        raise graph_error("invalid", place, f"Node {name!r} is made of no node")
    if ensemble is not None:
        if len(set(ensemble.members)) != len(ensemble.members):
            raise graph_error("invalid", place, f"A member of {name!r} is named twice", fix="Give it a weight.")
        right = len(ensemble.weights) == len(ensemble.members)
        if not right or not all(math.isfinite(w) and w >= 0 for w in ensemble.weights) or not sum(ensemble.weights):
            raise graph_error(
                "invalid",
                f"{place}.weights",
                f"The weights of {name!r} do not fit its members",
                fix="Give one number for each member, none below 0 and not all 0.",
            )
    if fallback is not None and not 0 <= fallback.deadline_ms < math.inf:
        raise graph_error("invalid", f"{place}.fallback.deadline_ms", "A deadline is a number of milliseconds")


def _reached(graph: Graph) -> set[str]:
    """Every node that the answer needs.

    Raises:
        BadInputError: ``graph.cycle``, with the way round.
    """
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            round_trip = " -> ".join((*way[way.index(name) :], name))
            raise graph_error("cycle", f"nodes.{name}", f"Node {name!r} needs itself", why=f"{round_trip}.")
        if name not in done:
            node = graph.nodes[name]
            for other in (*node.below, *node.sources):
                visit(other, (*way, name))
            done.add(name)

    visit(graph.answer, ())
    return done
