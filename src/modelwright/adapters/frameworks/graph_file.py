"""``*.graph.yaml``: several models that answer as one. ``graphs`` of ``modelwright.yaml`` holds the same by name.

```yaml
answer: by-hour                    # the node that answers; may be left out where no other node uses it
nodes:
  small: {package: small.mw}       # a package, relative to this file
  large: {model: flights@champion} # a registered model; packed as the version that it is now
  both:                            # the (weighted) mean of what they say; or `method: vote`
    ensemble: [small, large]
    weights: [1, 3]
  by-hour:                         # each row to the first case that holds
    switch:
      by: hour
      cases:
        - {below: 6, use: small}
        - {from: 22, use: small}
        - {missing: true, use: safe}
      default: both
  safe:                            # `first`, unless it fails or takes longer than so long
    fallback: {first: large, then: small, deadline_ms: 50}
```

And ``sequence: [scale, head]`` (each takes what the one before gives), ``stack: {members: [a, b], final: meta}``.
A case is one of ``values: [...]``, ``from:``/``below:``, ``missing: true``. Where an input of a model has no source of
its name, its node says so: ``inputs: {X: scale.total}``; columns: ``inputs: {X: [a.score, b.probabilities.1]}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from modelwright.core.graph import (
    Case,
    Ensemble,
    Fallback,
    Graph,
    GraphError,
    Member,
    Method,
    Node,
    Sequence,
    Stack,
    Switch,
    Wire,
    declared_in,
)
from modelwright.core.names import suggest
from modelwright.core.signature import Signature

KINDS = ("package", "model", "sequence", "ensemble", "stack", "switch", "fallback")
_OPTIONS = {"inputs": ("package", "model"), "method": ("ensemble",), "weights": ("ensemble",)}
S = TypeVar("S", bound=msgspec.Struct)


class _Stack(msgspec.Struct, forbid_unknown_fields=True):
    members: list[str]
    final: str


class _Case(msgspec.Struct, forbid_unknown_fields=True):
    use: str
    values: list[str | float] = msgspec.field(default_factory=list)
    low: float | None = msgspec.field(default=None, name="from")
    below: float | None = None
    missing: bool = False


class _Switch(msgspec.Struct, forbid_unknown_fields=True):
    by: str
    cases: list[_Case]
    default: str


class _Fallback(msgspec.Struct, forbid_unknown_fields=True):
    first: str
    then: str
    deadline_ms: float = 0.0


class _Node(msgspec.Struct, forbid_unknown_fields=True):
    package: str = ""
    model: str = ""
    inputs: dict[str, str | list[str]] = msgspec.field(default_factory=dict)
    sequence: list[str] = msgspec.field(default_factory=list)
    ensemble: list[str] = msgspec.field(default_factory=list)
    method: Method = "mean"
    weights: list[float] = msgspec.field(default_factory=list)
    stack: _Stack | None = None
    switch: _Switch | None = None
    fallback: _Fallback | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    nodes: dict[str, Any]
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a node's model is: a package file, or a registered model by name and version or alias."""

    path: Path | None = None
    model: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """A graph file: the nodes as they stand, and which models to fetch."""

    answer: str
    nodes: Mapping[str, _Node]
    references: Mapping[str, Reference]


def read_graph(path: Path) -> Declared:
    """The file, its keys and references checked; nothing it names is opened.

    Raises:
        BadInputError: ``graph.invalid`` with the place in the file.
    """
    import yaml  # lazy: 20 ms

    path, graph = declared_in(path)
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise GraphError(
            "graph.invalid",
            f"{path.name} cannot be read",
            place=path.name,
            why=f"{' '.join(str(error).split())[:300]}.",
        ) from error
    file = _convert(f"graphs.{graph}", _section(path, body, graph), _File) if graph else _convert("", body, _File)
    nodes = {str(name): _convert(f"nodes.{name}", node, _Node) for name, node in file.nodes.items()}
    for name, node in nodes.items():
        _check_kind(name, node, file.nodes[name])
    references = {name: _reference(path, name, node) for name, node in nodes.items() if node.package or node.model}
    return Declared(file.answer or _unused(nodes), nodes, references)


def _section(path: Path, body: object, graph: str) -> object:
    """One graph of a project file."""
    graphs = body.get("graphs") if isinstance(body, dict) else None
    known = [str(name) for name in graphs] if isinstance(graphs, dict) else []
    if graph not in known:
        raise GraphError(
            "graph.unknown",
            f"{path.name} declares no graph {graph!r}",
            place="graphs",
            fix=suggest(graph, known) if known else "Write it there: graphs: {NAME: {nodes: {...}}}.",
        )
    assert isinstance(graphs, dict)
    return next(declared for name, declared in graphs.items() if str(name) == graph)


def graph_of(declared: Declared, members: Mapping[str, Member], signatures: Mapping[str, Signature]) -> Graph:
    """The graph as declared, its models' inputs parsed; which is sound is for `core.graph_wires.resolve` to say."""
    nodes = {}
    for name, node in declared.nodes.items():
        if name in members:
            held = members[name]
            inputs = {
                key: tuple(
                    _wire(text, declared, signatures) for text in ([source] if isinstance(source, str) else source)
                )
                for key, source in node.inputs.items()
            }
            nodes[name] = Node(model=Member(held.digest, held.source, inputs))
        else:
            nodes[name] = _combined(name, node)
    return Graph(declared.answer, nodes)


def _combined(name: str, node: _Node) -> Node:
    if node.sequence:
        return Node(sequence=Sequence(tuple(node.sequence)))
    if node.ensemble:
        weights = tuple(node.weights) or (1.0,) * len(node.ensemble)
        return Node(ensemble=Ensemble(tuple(node.ensemble), node.method, weights))
    if node.stack is not None:
        return Node(stack=Stack(tuple(node.stack.members), node.stack.final))
    if node.fallback is not None:
        return Node(fallback=Fallback(node.fallback.first, node.fallback.then, node.fallback.deadline_ms))
    assert node.switch is not None
    cases = tuple(_case(f"nodes.{name}.switch.cases[{index}]", case) for index, case in enumerate(node.switch.cases))
    if len({bool(case.categories) for case in cases if not case.missing}) > 1:
        raise GraphError(
            "graph.invalid",
            f"Some cases of {name!r} are of text, others of numbers",
            place=f"nodes.{name}.switch.cases",
        )
    return Node(switch=Switch(node.switch.by, cases, node.switch.default))


def _case(place: str, case: _Case) -> Case:
    ways = (bool(case.values), case.low is not None or case.below is not None, case.missing)
    if sum(ways) != 1:
        raise GraphError("graph.invalid", "A case is one of values, from/below, missing", place=place)
    texts = tuple(value for value in case.values if isinstance(value, str))
    numbers = tuple(float(value) for value in case.values if not isinstance(value, str))
    if texts and numbers:
        raise GraphError("graph.invalid", "The values of a case are all text or all numbers", place=f"{place}.values")
    return Case(case.use, texts, numbers, case.low, case.below, case.missing)


def _wire(text: str, declared: Declared, signatures: Mapping[str, Signature]) -> Wire:
    """``node.output``, ``node.output.column``, or the name of an input of the graph."""
    node, dot, rest = text.partition(".")
    if not dot or node not in declared.nodes:
        return Wire(text)
    output, _, column = rest.rpartition(".")
    given = signatures.get(node)
    whole = given is not None and given.output(rest) is not None
    if whole or not output:
        return Wire(rest, node)
    if given is not None and output == given.score_output and column in given.classes:
        return Wire(output, node, given.classes.index(column))
    return Wire(output, node, int(column)) if column.isdecimal() else Wire(rest, node)


def _check_kind(name: str, node: _Node, body: Mapping[str, Any]) -> None:
    kinds = [kind for kind in KINDS if getattr(node, kind)]
    if len(kinds) != 1:
        raise GraphError(
            "graph.invalid",
            f"Node {name!r} is {' and '.join(kinds) or 'nothing'}",
            place=f"nodes.{name}",
            fix=f"Give it exactly one of {', '.join(KINDS)}.",
        )
    for option, allowed in _OPTIONS.items():
        if option in body and kinds[0] not in allowed:
            raise GraphError("graph.invalid", f"A node with {kinds[0]} has no {option}", place=f"nodes.{name}.{option}")


def _reference(path: Path, name: str, node: _Node) -> Reference:
    if node.package:
        return Reference(path.absolute().parent / node.package)
    model, at, version = node.model.partition("@")
    if not at or not model or not version:
        raise GraphError(
            "graph.invalid",
            f"{node.model!r} names no version",
            place=f"nodes.{name}.model",
            fix=f"Write {model or 'name'}@champion, another alias, or a version number.",
        )
    return Reference(model=model, version=version)


def _unused(nodes: Mapping[str, _Node]) -> str:
    """The one node that no other uses."""
    used: set[str] = set()
    for node in nodes.values():
        used |= {*node.sequence, *node.ensemble}
        used |= {*node.stack.members, node.stack.final} if node.stack else set()
        used |= {node.fallback.first, node.fallback.then} if node.fallback else set()
        used |= {node.switch.default, *(case.use for case in node.switch.cases)} if node.switch else set()
        for source in node.inputs.values():
            named = {text.partition(".")[0] for text in ([source] if isinstance(source, str) else source)}
            used |= named & set(nodes)  # the others are inputs of the graph
    left = [name for name in nodes if name not in used]
    if len(left) > 1 and used <= set(nodes):
        raise GraphError(
            "graph.invalid",
            f"Which node answers is not said, and {' and '.join(left)} are used by no other node",
            place="answer",
            fix="Add `answer: NODE`.",
        )
    left += nodes  # in a circle, or with an unknown name, any will do: the error is found there
    return left[0] if left else ""


def _convert(place: str, body: object, kind: type[S]) -> S:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        words, _, inner = str(error).partition(" - at `$")
        where = ".".join(part for part in (place, inner.rstrip("`").lstrip(".")) if part) or "the top"
        unknown = re.search(r"unknown field `(.*)`", words)
        if unknown is None:
            raise GraphError("graph.invalid", words, place=where) from error
        known = [] if inner else [one.encode_name for one in msgspec.structs.fields(kind)]
        place = f"{where}.{unknown.group(1)}".removeprefix("the top.")
        raise GraphError(
            "graph.invalid", "There is no such key", place=place, fix=suggest(unknown.group(1), known)
        ) from error


def is_graph_file(path: Path) -> bool:
    """True for ``*.graph.yaml`` and ``*.graph.yml``, and for a graph of a project file (``modelwright.yaml#NAME``)."""
    return path.name.lower().endswith((".graph.yaml", ".graph.yml")) or bool(declared_in(path)[1])
