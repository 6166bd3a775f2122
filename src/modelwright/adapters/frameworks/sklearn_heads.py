"""The outputs of a converted graph, brought into the form that a package gives them in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks import onnx_graph
from modelwright.adapters.frameworks.sklearn_outputs import LABEL, SCORE, SCORES, VALUE

_FLAT = (LABEL, SCORE)


def shape_outputs(graph: Any, kind: str, own: Mapping[str, NDArray[Any]]) -> list[str]:
    """Edit an ``onnx.GraphProto`` so that its outputs are those of ``own``, in order; returns the names they shall get.

    Labels and scores become [n], the values of each target [n, 1], the probabilities of each target [n, classes].
    """
    names = list(own)
    if kind in {"classifier", "regressor", "transformer", "multilabel"}:
        onnx_graph.keep_outputs(graph, len(names))
        return names
    if kind in {"outliers", "clusters"}:
        onnx_graph.keep_outputs(graph, len(names))
        for index, name in enumerate(names):
            if name in _FLAT:
                _flatten(graph, index)
        return names
    scored = any(name.startswith(SCORES) for name in names)
    onnx_graph.keep_outputs(graph, 2 if scored else 1)
    held = {LABEL if kind == "classifiers" else VALUE: graph.output[0]} | ({SCORES: graph.output[1]} if scored else {})
    sources = {stem: (value.name, value.type) for stem, value in held.items()}
    del graph.output[:]
    for name in names:
        stem, _, target = name.rpartition("_")
        source, kind_of_value = sources[stem]
        _split(graph, stem, source, kind_of_value, int(target), own[name])
    return names


def _flatten(graph: Any, index: int) -> None:
    from onnx import TensorProto, helper  # lazy: only packing needs it

    output = graph.output[index]
    source, kind = output.name, output.type.tensor_type.elem_type
    shape, target = _fresh(graph, "flat_shape"), _fresh(graph, "flat")
    graph.initializer.append(helper.make_tensor(shape, TensorProto.INT64, [1], [-1]))
    graph.node.append(helper.make_node("Reshape", [source, shape], [target], name=target))
    output.CopyFrom(helper.make_tensor_value_info(target, kind, [None]))


def _split(graph: Any, stem: str, source: str, kind: Any, target: int, own: NDArray[Any]) -> None:
    """One target's labels [n], values [n, 1] or probabilities [n, classes] as an output."""
    if stem == SCORES and kind.HasField("sequence_type"):
        kind = kind.sequence_type.elem_type
        value = _node(graph, "SequenceAt", source, [], [target])
    elif stem == SCORES:
        value = _node(graph, "Gather", source, [], [target], axis=0)
        # Targets with fewer classes than others are filled up with columns of zeros.
        value = _node(graph, "Gather", value, [own.shape[1]], list(range(own.shape[1])), axis=1)
    elif stem == LABEL:
        value = _node(graph, "Gather", source, [], [target], axis=1)
    else:
        value = _node(graph, "Gather", source, [1], [target], axis=1)
    from onnx import helper  # lazy: only packing needs it

    shape = [None, *own.shape[1:]]
    graph.output.append(helper.make_tensor_value_info(value, kind.tensor_type.elem_type, shape))


def _node(graph: Any, operator: str, source: str, shape: list[int], places: list[int], **attributes: Any) -> str:
    """A node that takes places out of ``source``; the name of what it gives."""
    from onnx import TensorProto, helper  # lazy: only packing needs it

    index, target = _fresh(graph, "place"), _fresh(graph, "part")
    graph.initializer.append(helper.make_tensor(index, TensorProto.INT64, shape, np.array(places, dtype=np.int64)))
    graph.node.append(helper.make_node(operator, [source, index], [target], name=target, **attributes))
    return target


def _fresh(graph: Any, stem: str) -> str:
    taken = onnx_graph.value_names(graph)
    count = 0
    while f"{stem}_{count}_of_targets" in taken:
        count += 1
    return f"{stem}_{count}_of_targets"
