"""Small edits of an ONNX graph: names people can read, label types that match, no inputs that nothing uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def rename(graph: Any, wanted: Mapping[str, str]) -> None:
    """Rename values of a graph (an ``onnx.GraphProto``, in place); an inner value in the way gets another name."""
    taken = value_names(graph)
    mapping = {old: new for old, new in wanted.items() if old != new}
    for new in list(mapping.values()):
        if new in taken and new not in wanted:
            mapping[new] = _free(f"{new}_inner", taken | set(mapping.values()))
    _apply(graph, mapping)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _apply(graph: Any, mapping: Mapping[str, str]) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = mapping.get(name, name)
        for inner in _inner(node):
            _apply(inner, mapping)
    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        for value in values:
            value.name = mapping.get(value.name, value.name)


def _inner(node: Any) -> list[Any]:
    """The graphs inside a node (branches, loop bodies)."""
    return [
        inner
        for attribute in node.attribute
        for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
    ]


def value_names(graph: Any) -> set[str]:
    """Names of all values of a graph and of the graphs inside it."""
    names = {value.name for values in (graph.input, graph.output, graph.initializer) for value in values}
    for node in graph.node:
        names.update(node.input)
        names.update(node.output)
        for inner in _inner(node):
            names |= value_names(inner)
    return names


def drop_unused_inputs(graph: Any) -> None:
    """Remove inputs that no node reads, so that nobody has to send them; one always stays."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in graph.node:
        for inner in _inner(node):
            read |= value_names(inner)
    for value in [value for value in graph.input if value.name not in read]:
        if len(graph.input) > 1:
            graph.input.remove(value)


def keep_outputs(graph: Any, count: int) -> None:
    """Keep the first ``count`` outputs, and of the nodes those that they need."""
    del graph.output[count:]
    needed = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):  # nodes stand in topological order
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
            continue
        needed.update(node.input)
        for inner in _inner(node):
            needed |= value_names(inner)


def split_input(graph: Any, names: Sequence[str], onnx_type: int) -> None:
    """Replace the one [n, k] input by k inputs [n, 1] under ``names``, joined by a Concat node."""
    from onnx import helper  # lazy: only packing needs it

    matrix = graph.input[0].name
    taken = value_names(graph)
    parts = [_free(f"column{index}", taken) for index in range(len(names))]
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.append(helper.make_node("Concat", parts, [matrix], name="join_columns", axis=1))
    graph.node.extend(nodes)
    del graph.input[:]
    graph.input.extend(helper.make_tensor_value_info(part, onnx_type, [None, 1]) for part in parts)


def clip_output(graph: Any, name: str) -> None:
    """Keep the output ``name`` within 0 and 1: sums of 32-bit numbers give probabilities as -1e-7."""
    from onnx import helper  # lazy: only packing needs it

    output = next(output for output in graph.output if output.name == name)
    onnx_type = output.type.tensor_type.elem_type
    taken = value_names(graph)
    before, raised, low, high = (
        _free(f"{name}_{word}", taken) for word in ("unclipped", "raised", "lowest", "highest")
    )
    _apply(graph, {name: before})
    output.name = name
    for bound, value in ((low, 0), (high, 1)):
        graph.initializer.append(helper.make_tensor(bound, onnx_type, [], [value]))
    # Max and Min, since Clip takes its bounds in another way in the older operator sets that some models come in.
    graph.node.append(helper.make_node("Max", [before, low], [raised], name=f"raise_{name}"))
    graph.node.append(helper.make_node("Min", [raised, high], [name], name=f"lower_{name}"))


def cast_output(graph: Any, name: str, onnx_type: int) -> None:
    """Give the output ``name`` another element type through a Cast node."""
    from onnx import helper  # lazy: only packing needs it

    before = _free(f"{name}_uncast", value_names(graph))
    _apply(graph, {name: before})
    graph.node.append(helper.make_node("Cast", [before], [name], name=f"cast_{name}", to=onnx_type))
    for output in graph.output:
        if output.name == before:
            output.name = name
            output.type.tensor_type.elem_type = onnx_type
