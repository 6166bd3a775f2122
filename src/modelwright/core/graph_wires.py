"""Where every input of every model of a graph comes from: what is left out is filled in, and all of it is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from modelwright.core.graph import Graph, GraphError, Node, Stack, Switch, Wire
from modelwright.core.graph_inputs import Request, features, merge, policy, switched
from modelwright.core.graph_outputs import described, gives, mismatch
from modelwright.core.graph_structure import check_structure
from modelwright.core.names import suggest
from modelwright.core.signature import DATATYPES, Signature, TensorSpec

Inputs = dict[str, dict[str, tuple[Wire, ...]]]


def resolve(declared: Graph, signatures: Mapping[str, Signature]) -> tuple[Graph, Signature]:
    """The graph with a source for every input, and the signature it has as one model.

    An input that names no source takes, in a sequence, the output of that name of the step before, in a stack what
    the members give, else the graph's own input of that name.

    Args:
        declared: the graph as declared; sources may be missing.
        signatures: of the nodes that are models.

    Raises:
        BadInputError: ``graph.*``: structure, unknown names, types; naming both ends and the place.
    """
    check_structure(declared)
    given = gives(declared, signatures)
    bound: Inputs = {name: dict(member.inputs) for name, member in declared.models}
    for name, wires in bound.items():
        for unknown in (key for key in wires if signatures[name].input(key) is None):
            raise GraphError(
                "graph.unknown-input",
                f"The model of node {name!r} takes no input {unknown!r}",
                place=f"nodes.{name}.inputs.{unknown}",
                fix=suggest(unknown, [spec.name for spec in signatures[name].inputs]),
            )
        for key, source in wires.items():
            for wire in source:
                if wire.node:
                    _source(f"nodes.{name}.inputs.{key}", wire, given, given[wire.node])
    for name in _upwards(declared):
        node = declared.nodes[name]
        if node.sequence is not None:
            for before, step in zip(node.sequence.steps, node.sequence.steps[1:], strict=False):
                _feed(declared, signatures, bound, step=step, outputs=_by_name(before, given[before]))
                _require_use(declared, bound, name, step, {before})
        if node.stack is not None:
            _feed_final(declared, signatures, bound, name, node.stack, given)
            _require_use(declared, bound, name, node.stack.final, set(node.stack.members))
    return _with_inputs(declared, signatures, bound, given)


def _upwards(graph: Graph) -> Iterator[str]:
    """Every node after all that it is made of."""
    done: set[str] = set()

    def visit(name: str) -> Iterator[str]:
        if name not in done:
            done.add(name)
            for other in graph.nodes[name].below:
                yield from visit(other)
            yield name

    for name in graph.nodes:
        yield from visit(name)


def _by_name(node: str, given: Signature) -> dict[str, tuple[Wire, ...]]:
    return {spec.name: (Wire(spec.name, node),) for spec in given.outputs}


def _feed(
    graph: Graph,
    signatures: Mapping[str, Signature],
    bound: Inputs,
    *,
    step: str,
    outputs: Mapping[str, tuple[Wire, ...]],
) -> None:
    """Bind the inputs of a step's models that name no source to the outputs of their names."""
    inside = set(graph.under(step))
    for leaf in graph.under(step):
        for spec in signatures[leaf].inputs if leaf in signatures else ():
            source = outputs.get(spec.name)
            if source is None:
                continue
            held = bound[leaf].setdefault(spec.name, source)
            explicit = graph.nodes[leaf].model
            if held != source and explicit is not None and spec.name not in explicit.inputs:
                if any(wire.node in inside for wire in held):
                    continue  # a step inside this one feeds it
                raise GraphError(
                    "graph.ambiguous-input",
                    f"Input {spec.name!r} of {leaf!r} could come from {held[0]} and from {source[0]}",
                    place=f"nodes.{leaf}.inputs.{spec.name}",
                    fix=f"Say which: inputs: {{{spec.name}: {source[0]}}}, or use the model under two names.",
                )


def _feed_final(
    graph: Graph,
    signatures: Mapping[str, Signature],
    bound: Inputs,
    name: str,
    stack: Stack,
    given: Mapping[str, Signature],
) -> None:
    """Bind what the final model leaves open: an input by a member's name, or one matrix to all of them."""
    final = signatures.get(stack.final)
    left = [] if final is None else [spec for spec in final.inputs if spec.name not in bound[stack.final]]
    if not left:
        return
    scores = {member: _score(name, member, given[member]) for member in stack.members}
    _feed(graph, signatures, bound, step=stack.final, outputs=scores)
    matrix = [spec for spec in left if spec.name not in bound[stack.final] and len(spec.shape) == 2]
    if len(matrix) == 1 and len(left) == 1:
        order = matrix[0].features if set(matrix[0].features) == set(stack.members) else stack.members
        bound[stack.final][matrix[0].name] = tuple(wire for member in order for wire in scores[member])


def _score(name: str, member: str, given: Signature) -> tuple[Wire, ...]:
    """What a member says: P(second class), all class probabilities, the number, or its only output."""
    if given.task == "binary" and given.score_output:
        return (Wire(given.score_output, member, 1),)
    output = given.score_output or given.label_output or (given.outputs[0].name if len(given.outputs) == 1 else "")
    if not output:
        raise GraphError(
            "graph.missing-output",
            f"Node {member!r} gives several outputs, none of which is its score",
            place=f"nodes.{name}.stack",
            fix="Name the sources of the final model's inputs.",
        )
    return (Wire(output, member),)


def _require_use(graph: Graph, bound: Inputs, name: str, step: str, before: set[str]) -> None:
    """A step that takes nothing of the one before is a mistake."""
    below = {one for node in before for one in graph.under(node)}
    used = {wire.node for leaf in graph.under(step) if leaf in bound for w in bound[leaf].values() for wire in w}
    if not used & below:
        shown = " and ".join(sorted(before))
        raise GraphError(
            "graph.unconnected",
            f"Node {step!r} takes nothing that {shown} gives",
            place=f"nodes.{name}",
            why="No output has the name of one of its inputs.",
            fix=f"Say where its inputs come from, at nodes.{step}.inputs.",
        )


def _with_inputs(
    graph: Graph, signatures: Mapping[str, Signature], bound: Inputs, given: Mapping[str, Signature]
) -> tuple[Graph, Signature]:
    requests = list(_requests(signatures, bound))
    inputs, wires = merge(requests)
    for (name, key), source in wires.items():
        held = bound[name].get(key, ())
        if not held or (len(held) == 1 and not held[0].node):
            bound[name][key] = source
    nodes: dict[str, Node] = {}
    added = {}
    for name, node in graph.nodes.items():
        switch = node.switch
        if node.model is not None:
            order = [spec.name for spec in signatures[name].inputs]
            nodes[name] = Node(model=replace(node.model, inputs={key: bound[name][key] for key in order}))
        elif switch is not None:
            placed, extra = switched(name, switch, inputs)
            if extra is not None:
                inputs, added[switch.by] = (*inputs, extra), switch
            nodes[name] = Node(switch=placed)
        else:
            nodes[name] = node
    complete = Graph(graph.answer, nodes)
    members = dict(signatures)
    signature = replace(
        given[graph.answer],
        inputs=inputs,
        features=features(inputs, members, added),
        policy=policy(members.values()),
    )
    verify(complete, members, signature)
    return complete, signature


def _requests(signatures: Mapping[str, Signature], bound: Inputs) -> Iterator[Request]:
    """Every input that the graph itself must give; several columns named one by one are an input each."""
    for name, wires in bound.items():
        for spec in signatures[name].inputs:
            source = wires.get(spec.name)
            if source is None:
                yield Request(name, spec, spec.name)
            elif len(source) == 1 and not source[0].node:
                yield Request(name, spec, source[0].tensor)
            else:
                for wire in source:
                    if not wire.node:
                        column = TensorSpec(wire.tensor, spec.datatype, (-1, 1))
                        yield Request(name, column, wire.tensor)


def verify(graph: Graph, signatures: Mapping[str, Signature], signature: Signature) -> None:
    """A complete graph against the signatures of its models and of itself.

    Raises:
        BadInputError: ``graph.*``, naming both ends and the place.
    """
    check_structure(graph)
    given = gives(graph, signatures)
    for name, member in graph.models:
        for spec in signatures[name].inputs:
            place = f"nodes.{name}.inputs.{spec.name}"
            wires = member.inputs.get(spec.name, ())
            if not wires:
                raise GraphError(
                    "graph.unknown-input", f"Input {spec.name!r} of node {name!r} has no source", place=place
                )
            _check_source(place, (name, spec), [(wire, _source(place, wire, given, signature)) for wire in wires])
    for spec in given[graph.answer].outputs:
        held = signature.output(spec.name)
        if held is None or (held.datatype, held.shape) != (spec.datatype, spec.shape):
            raise GraphError(
                "graph.type-mismatch", f"Output {spec.name!r} is not what {graph.answer!r} gives", place="answer"
            )
    for name, node in graph.nodes.items():
        if node.switch is not None:
            _check_switch(name, node.switch, signature)


def _check_switch(name: str, switch: Switch, signature: Signature) -> None:
    spec = signature.input(switch.tensor)
    width = 0 if spec is None or len(spec.shape) > 2 else len(spec.features) or (*spec.shape, 1, 1)[1]
    if spec is None or not 0 <= switch.column < width:
        raise GraphError(
            "graph.unknown-input",
            f"The graph has no input {switch.tensor!r} to look at",
            place=f"nodes.{name}.switch.by",
        )
    switched(name, switch, signature.inputs)
    for one in (*signature.inputs, *signature.outputs):
        if one.shape[:1] != (-1,):
            raise GraphError(
                "graph.type-mismatch",
                f"{one.name!r} is {described(one)}: without rows there is nothing to part",
                place=f"nodes.{name}.switch",
            )


def _source(place: str, wire: Wire, given: Mapping[str, Signature], signature: Signature) -> TensorSpec:
    specs = given[wire.node].outputs if wire.node else signature.inputs
    spec = next((one for one in specs if one.name == wire.tensor), None)
    if spec is None:
        raise GraphError(
            "graph.missing-output" if wire.node else "graph.unknown-input",
            f"There is no {wire}",
            place=place,
            fix=suggest(wire.tensor, [one.name for one in specs]),
        )
    if wire.column < 0:
        return spec
    if len(spec.shape) != 2 or 0 <= spec.shape[1] <= wire.column:
        raise GraphError(
            "graph.missing-output", f"There is no column {wire}", place=place, why=f"It is {described(spec)}."
        )
    return replace(spec, shape=(spec.shape[0], 1))


def _check_source(place: str, end: tuple[str, TensorSpec], sources: list[tuple[Wire, TensorSpec]]) -> None:
    """Numbers may be widened or rounded to what the model takes, never cut; text is text; sizes agree."""
    node, target = end
    for wire, spec in sources:
        if not np.can_cast(DATATYPES[spec.datatype], DATATYPES[target.datatype], "same_kind") or (
            (spec.datatype == "BYTES") != (target.datatype == "BYTES")
        ):
            raise mismatch(place, (wire.node or "the graph", spec), (node, target))
    wire, spec = sources[0]
    if len(sources) == 1 and len(spec.shape) == len(target.shape):
        fits = all(a == b or -1 in (a, b) for a, b in zip(spec.shape, target.shape, strict=True))
    else:
        widths = [1 if len(one.shape) == 1 else one.shape[1] if len(one.shape) == 2 else 0 for _, one in sources]
        wanted = 1 if len(target.shape) == 1 else target.shape[1] if len(target.shape) == 2 else 0
        fits = bool(wanted) and all(widths) and (-1 in (*widths, wanted) or sum(widths) == wanted)
    if not fits:
        given = replace(spec, name=" and ".join(str(one).partition(".")[2] or str(one) for one, _ in sources))
        raise mismatch(place, (wire.node or "the graph", given if len(sources) > 1 else spec), (node, target))
