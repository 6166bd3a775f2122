"""A node of a packed graph, as if it were a model of its own: what it gives, for whoever reads its records."""

from __future__ import annotations

from modelwright.core.errors import NotFoundError
from modelwright.core.graph_outputs import gives
from modelwright.core.names import suggest
from modelwright.core.package import Package
from modelwright.core.package_codec import open_member
from modelwright.core.signature import Signature


def node_signature(package: Package, node: str) -> Signature:
    """Outputs, task and classes of a node, without inputs; ``outer/inner`` is a node of a graph inside the graph.

    Raises:
        NotFoundError: ``graph.no-such-node``.
        CorruptError: a package inside does not match.
    """
    name, _, inner = node.partition("/")
    graph = package.graph
    if graph is None or name not in graph.nodes:
        raise NotFoundError(
            "graph.no-such-node",
            f"Model {package.name!r} has no node {name[:80]!r}.",
            why="" if graph is not None else "It is one model, not a graph.",
            fix=suggest(name, graph.nodes) if graph is not None else "",
        )
    if inner:
        return node_signature(open_member(package, name), inner)
    return gives(graph, {one: open_member(package, one).signature for one, _ in graph.models})[name]
