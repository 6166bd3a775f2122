"""Whether a graph is one at all: names, numbers and edges, before any of its models is looked at."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from modelwright.core.graph import MAX_NODES, Graph, GraphError, Node
from modelwright.core.names import suggest

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_structure(graph: Graph) -> None:
    """Names, numbers and edges, before any model is looked at.

    Raises:
        BadInputError: ``graph.too-many-nodes``, ``graph.bad-name``, ``graph.unknown-node``, ``graph.cycle``,
            ``graph.unused-node``, ``graph.invalid``.
    """
    if not 0 < len(graph.nodes) <= MAX_NODES:
        raise GraphError(
            "graph.too-many-nodes", f"A graph has 1 to {MAX_NODES} nodes, not {len(graph.nodes)}", place="nodes"
        )
    for name, node in graph.nodes.items():
        if not _NAME.fullmatch(name):
            raise GraphError(
                "graph.bad-name",
                f"{name[:80]!r} cannot be the name of a node",
                place=f"nodes.{name[:80]}",
                why="A name has 1 to 63 characters: a-z, 0-9, '_' and '-', and starts with a letter or digit.",
            )
        if len(node.kinds) != 1:
            raise GraphError("graph.invalid", "A node is one of model, sequence, ensemble, ...", place=f"nodes.{name}")
        for other in (*node.below, *node.sources):
            _known(graph.nodes, other, f"nodes.{name}")
        _check_values(name, node)
    _known(graph.nodes, graph.answer, "answer")
    _require_no_cycle(graph)
    used = {graph.answer, *_behind(graph, graph.answer)}
    for name in graph.nodes:
        if name not in used:
            raise GraphError(
                "graph.unused-node",
                f"Node {name!r} is used by none that leads to the answer {graph.answer!r}",
                place=f"nodes.{name}",
                fix="Use it, or take it out.",
            )


def _known(nodes: Mapping[str, Node], name: str, place: str) -> None:
    if name not in nodes:
        raise GraphError("graph.unknown-node", f"There is no node {name[:80]!r}", place=place, fix=suggest(name, nodes))


def _check_values(name: str, node: Node) -> None:
    ensemble, fallback, place = node.ensemble, node.fallback, f"nodes.{name}"
    if not node.model and not node.below:
        raise GraphError("graph.invalid", f"Node {name!r} is made of no node", place=place)
    if ensemble is not None:
        if len(set(ensemble.members)) != len(ensemble.members):
            raise GraphError(
                "graph.invalid", f"A member of {name!r} is named twice", place=place, fix="Give it a weight."
            )
        right = len(ensemble.weights) == len(ensemble.members)
        if not right or not all(math.isfinite(w) and w >= 0 for w in ensemble.weights) or not sum(ensemble.weights):
            raise GraphError(
                "graph.invalid",
                f"The weights of {name!r} do not fit its members",
                place=f"{place}.weights",
                fix="Give one number for each member, none below 0 and not all 0.",
            )
    if fallback is not None and not 0 <= fallback.deadline_ms < math.inf:
        raise GraphError(
            "graph.invalid", "A deadline is a number of milliseconds", place=f"{place}.fallback.deadline_ms"
        )


def _behind(graph: Graph, name: str) -> set[str]:
    """Every node whose outputs a node takes, directly or not, and what these are made of."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        node = graph.nodes[waiting.pop()]
        new = {*node.below, *node.sources} - found
        found |= new
        waiting += new
    return found


def _require_no_cycle(graph: Graph) -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            round_trip = " -> ".join((*way[way.index(name) :], name))
            raise GraphError(
                "graph.cycle", f"Node {name!r} stands in a circle", place=f"nodes.{name}", why=f"{round_trip}."
            )
        if name not in done:
            node = graph.nodes[name]
            for other in (*node.below, *node.sources):
                visit(other, (*way, name))
            done.add(name)

    for name in graph.nodes:
        visit(name, ())
