"""The converter's call, and its graph under our names for inputs and outputs."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from modelwright.adapters.frameworks import onnx_graph
from modelwright.adapters.frameworks.sklearn_converters import conversions
from modelwright.adapters.frameworks.sklearn_heads import shape_outputs
from modelwright.adapters.frameworks.sklearn_outputs import LABEL, SCORES, VALUE, Outputs
from modelwright.adapters.frameworks.sklearn_prepare import prepared
from modelwright.adapters.frameworks.sklearn_rows import Layout, Typing, converter_inputs
from modelwright.core.signature import TensorSpec
from modelwright.native.estimators import parts

__all__ = ["LABEL", "SCORES", "VALUE", "named", "to_onnx"]
# The converter's newest opset has no conversion of isolation forests, and this one has.
_OLDER = {"": 18, "ai.onnx.ml": 3}


def to_onnx(model: Any, kind: str, layout: Layout, typing: Typing, null_as: str, *, scored: bool) -> Any:
    """The model as an ``onnx.ModelProto``, as the converter writes it; raises whatever the converter raises."""
    from skl2onnx import convert_sklearn  # lazy: heavy
    from skl2onnx.common import data_types

    kinds = {
        "FP32": data_types.FloatTensorType,
        "FP64": data_types.DoubleTensorType,
        "INT64": data_types.Int64TensorType,
        "BOOL": data_types.BooleanTensorType,
        "BYTES": data_types.StringTensorType,
    }
    ready = prepared(model, null_as, matrix=layout.matrix)
    inputs = converter_inputs(layout, typing)
    types = [(name, kinds[datatype]([None, width])) for name, datatype, width in inputs]
    options = _options(ready, kind, scored=scored)
    from modelwright.adapters.frameworks import boosters_graph  # lazy: imports scikit-learn

    for part in parts(ready):
        boosters_graph.register(part)
    found, shapes = conversions(ready)
    ours: dict[str, Any] = {"custom_conversion_functions": found, "custom_shape_calculators": shapes}
    if any(type(part).__name__ == "IsolationForest" for part in parts(ready)):
        ours["target_opset"] = _OLDER
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            proto = convert_sklearn(ready, name="model", initial_types=types, options=options, **ours)
        except NameError:  # how the converter says that a model does not know an option
            proto = convert_sklearn(ready, name="model", initial_types=types, **ours)
    # The converter lists operator sets in the order of a set of text, which is another one in each process.
    imports = sorted(proto.opset_import, key=lambda held: str(held.domain))
    del proto.opset_import[:]
    proto.opset_import.extend(imports)
    if layout.matrix and not layout.joined:
        onnx_graph.split_input(proto.graph, layout.names, proto.graph.input[0].type.tensor_type.elem_type)
    return proto


def _options(model: Any, kind: str, *, scored: bool) -> dict[int, dict[str, bool]] | None:
    """Plain tensors instead of a list of dictionaries; raw scores where they are what is asked of a classifier."""
    chosen: dict[int, dict[str, bool]] = {}
    for part in parts(model):
        if hasattr(part, "calibrators") and hasattr(part.estimator, "steps"):
            last = _last(part.estimator)
            if hasattr(last, "decision_function"):
                chosen[id(last)] = {"raw_scores": True, "zipmap": False}
    if kind not in {"classifier", "classifiers", "multilabel"}:
        return chosen or None
    if scored or kind != "classifier":
        return chosen | {id(model): {"zipmap": False}}
    # On a pipeline as a whole the converter would add its own wrong default.
    return chosen | {id(_last(model)): {"raw_scores": True}}


def _last(model: Any) -> Any:
    while getattr(model, "steps", None):
        model = model.steps[-1][1]
    return model


def named(proto: Any, model: Any, kind: str, specs: tuple[TensorSpec, ...], own: Outputs) -> tuple[TensorSpec, ...]:
    """Our names on the graph's inputs and outputs, as in ``own``; returns the inputs that the graph really reads."""
    graph = proto.graph
    outputs = shape_outputs(graph, kind, own)
    # The converter writes names its own way ("dep time" -> "dep_time") but keeps the order. A column that is called as
    # an output is cannot keep its name: ONNX has one name space.
    renamed = tuple(replace(spec, name=f"{spec.name}_input") if spec.name in outputs else spec for spec in specs)
    wanted = {value.name: spec.name for value, spec in zip(graph.input, renamed, strict=True)}
    wanted |= {value.name: name for value, name in zip(graph.output, outputs, strict=True)}
    onnx_graph.rename(graph, wanted)
    if kind == "classifier":
        _match_label_type(graph, np.asarray(model.classes_).dtype)
    if SCORES in outputs and kind != "clusters":
        onnx_graph.clip_output(graph, SCORES)
    onnx_graph.drop_unused_inputs(graph)
    kept = {value.name for value in graph.input}
    return tuple(spec for spec in renamed if spec.name in kept)


def _match_label_type(graph: Any, dtype: np.dtype[Any]) -> None:
    from onnx import TensorProto  # lazy: heavy

    wanted = {"b": TensorProto.BOOL, "f": TensorProto.DOUBLE}.get(dtype.kind)
    if wanted is not None:
        onnx_graph.cast_output(graph, LABEL, wanted)
