"""The program of a child process: a graph on standard input, the ensemble that it is on standard output.

Its own process because reading a graph takes the package ``onnx``, which a gateway does not carry. A graph that is more
than one ensemble of a known form ends it with status 3 and the reason on standard error.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelwright.adapters.runners.trees.ensemble import NODE, Ensemble, write

UNKNOWN = 3


class UnknownFormError(Exception):
    """The graph is not of a form that the kernel runs."""


def extract(graph: Any) -> Ensemble:
    """The ensemble that an ``onnx.GraphProto`` is.

    Raises:
        UnknownFormError: with the reason.
    """
    trees = [node for node in graph.node if node.op_type in ("TreeEnsembleClassifier", "TreeEnsembleRegressor")]
    if len(trees) != 1 or len(graph.input) != 1 or list(trees[0].input) != [graph.input[0].name]:
        raise UnknownFormError("it is not one ensemble over its only input")
    tensor = graph.input[0].type.tensor_type
    width = tensor.shape.dim[1].dim_value if len(tensor.shape.dim) == 2 else 0
    if tensor.elem_type != onnx.TensorProto.FLOAT or not width:
        raise UnknownFormError("its input is not FP32 [n, width]")
    node = trees[0]
    given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    bounds = _bounds(graph, node)
    classifier = node.op_type == "TreeEnsembleClassifier"
    prefix = "class" if classifier else "target"
    if any(name.endswith("_as_tensor") for name in given) or set(given.get(f"{prefix}_ids", ())) != {0}:
        raise UnknownFormError("it has several targets, or numbers of 64 bits")
    if given.get("aggregate_function", b"SUM") != b"SUM" or len(given.get("base_values", ())) > 1:
        raise UnknownFormError("it does not sum")
    weights = {
        key: float(weight)
        for key, weight in zip(
            zip(given[f"{prefix}_treeids"], given[f"{prefix}_nodeids"], strict=True),
            given[f"{prefix}_weights"],
            strict=True,
        )
    }
    labels = tuple(
        given.get("classlabels_int64s", ()) or (str(x, "utf-8") for x in given.get("classlabels_strings", ()))
    )
    kind = _kind(given.get("post_transform", b"NONE"), labels, list(weights.values())) if classifier else 0
    if not classifier and bounds != (-math.inf, math.inf):
        raise UnknownFormError("it bounds its sums")
    if not classifier and given.get("post_transform", b"NONE") != b"NONE":
        raise UnknownFormError("it transforms its sums")
    nodes, added, roots, depths = _walk(given, weights)
    return Ensemble(
        nodes,
        added,
        roots,
        depths,
        float(next(iter(given.get("base_values", ())), 0.0)),
        width,
        kind,
        graph.input[0].name,
        tuple(output.name for output in graph.output),
        labels,
        bounds,
    )


def _kind(transform: bytes, labels: Sequence[Any], weights: Sequence[float]) -> int:
    positive = min(weights) >= 0
    if len(labels) == 2 and transform == b"NONE":
        return 1 if positive else 2
    if len(labels) == 2 and transform == b"LOGISTIC" and not positive:
        return 3
    raise UnknownFormError("its classes are not two, or come about in another way")


def _bounds(graph: Any, trees: Any) -> tuple[float, float]:
    """What the nodes after the ensemble keep its last output within; they may do nothing else."""
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    name, low, high = trees.output[-1], -math.inf, math.inf
    for node in graph.node:
        if node is trees or node == trees:
            continue
        others = [one for one in node.input if one != name]
        if name not in node.input or len(node.output) != 1 or not set(others) <= set(constants):
            raise UnknownFormError(f"{node.op_type} stands beside the ensemble")
        values = [constants[one].reshape(-1).tolist() for one in others]
        if node.op_type == "Max" and len(values) == len(values[0]) == 1:
            low, high = max(low, values[0][0]), max(high, values[0][0])
        elif node.op_type == "Min" and len(values) == len(values[0]) == 1:
            low, high = min(low, values[0][0]), min(high, values[0][0])
        elif node.op_type != "Identity":
            raise UnknownFormError(f"{node.op_type} stands behind the ensemble")
        name = node.output[0]
    if [output.name for output in graph.output] != [*trees.output[:-1], name]:
        raise UnknownFormError("its outputs are not the ensemble's")
    return low, high


def _walk(given: Mapping[str, Any], weights: Mapping[tuple[int, int], float]) -> tuple[Any, Any, Any, Any]:
    """The trees with both children of a node beside each other, breadth first."""
    keys = list(zip(given["nodes_treeids"], given["nodes_nodeids"], strict=True))
    place = {key: index for index, key in enumerate(keys)}
    modes, features, values = given["nodes_modes"], given["nodes_featureids"], given["nodes_values"]
    true, false = given["nodes_truenodeids"], given["nodes_falsenodeids"]
    tracks = given.get("nodes_missing_value_tracks_true") or [0] * len(keys)
    if not set(modes) <= {b"LEAF", b"BRANCH_LEQ"}:
        raise UnknownFormError("it compares in another way than at most")
    nodes: list[tuple[float, int, int, int]] = []
    added: list[float] = []
    roots: list[int] = []
    depths: list[int] = []
    for tree in dict.fromkeys(given["nodes_treeids"]):
        roots.append(len(nodes))
        nodes.append((0.0, 0, 0, 0))
        added.append(0.0)
        waiting, deepest = deque([(place[tree, 0], roots[-1], 0)]), 0
        while waiting:
            index, at, depth = waiting.popleft()
            deepest = max(deepest, depth)
            if len(nodes) > 2 * len(keys):
                raise UnknownFormError("a node has several parents")
            if modes[index] == b"LEAF":
                nodes[at] = (math.inf, 0, at, 1)
                added[at] = weights.get(keys[index], 0.0)
                continue
            child = len(nodes)
            nodes += [(0.0, 0, 0, 0)] * 2
            added += [0.0, 0.0]
            nodes[at] = (values[index], features[index], child, tracks[index])
            waiting.append((place[tree, true[index]], child, depth + 1))
            waiting.append((place[tree, false[index]], child + 1, depth + 1))
        depths.append(deepest)
    return (
        np.array(nodes, NODE),
        np.array(added, np.float32),
        np.array(roots, np.int32),
        np.array(depths, np.int32),
    )


def main() -> int:
    """Read, extract, write."""
    try:
        ensemble = extract(onnx.load_from_string(sys.stdin.buffer.read()).graph)
    except (UnknownFormError, KeyError, IndexError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return UNKNOWN
    sys.stdout.buffer.write(write(ensemble))
    return 0


if __name__ == "__main__":
    sys.exit(main())
