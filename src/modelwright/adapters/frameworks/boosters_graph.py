"""Converters of boosters for skl2onnx: alone, and as a part of pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelwright.adapters.frameworks.boosters_estimator import (
    BoostedClassifier,
    BoostedRegressor,
    boosted,
    library_of,
)
from modelwright.adapters.frameworks.forest import Forest, UnconvertibleError, add_trees
from modelwright.adapters.frameworks.forest_readers import read_catboost, read_lightgbm, read_xgboost
from modelwright.adapters.frameworks.graph_nodes import cast_type, constant, dtype_of, rank, step
from modelwright.native.boosters import Booster

_READ = {"xgboost": read_xgboost, "lightgbm": read_lightgbm, "catboost": read_catboost}


def register(part: Any) -> None:
    """Make the class of this part known to the converter, where it is a booster's."""
    from skl2onnx import update_registered_converter  # lazy: heavy

    kind = type(part)
    if kind in (BoostedClassifier, BoostedRegressor) or library_of(part) is not None:
        shapes = _classifier_shapes if hasattr(part, "classes_") else _regressor_shapes
        options = {"zipmap": [True, False, "columns"], "raw_scores": [True, False], "nocl": [True, False]}
        update_registered_converter(
            kind,
            f"Modelwright{kind.__module__.partition('.')[0].title()}{kind.__name__}",
            shapes,
            _convert,
            options=options if hasattr(part, "classes_") else None,
            parser=_two_outputs if hasattr(part, "classes_") else None,
        )


def forest_of(booster: Booster) -> Forest:
    """The trees of a booster, as far as its answers go.

    Raises:
        UnconvertibleError: they cannot be written as operators.
    """
    return _READ[booster.library](booster.model, booster.best)


def _two_outputs(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Label and probabilities, of estimators too that the converter does not take for classifiers."""
    del custom_parsers
    from skl2onnx._supported_operators import _get_sklearn_operator_name  # lazy: heavy
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    text = np.asarray(model.classes_).dtype.kind in "UO"
    operator = scope.declare_local_operator(_get_sklearn_operator_name(type(model)), model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("label", StringTensorType() if text else Int64TensorType()))
    operator.outputs.append(scope.declare_local_variable("probabilities", FloatTensorType()))
    return list(operator.outputs)


def _classifier_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType  # lazy: heavy

    classes = np.asarray(operator.raw_operator.classes_)
    operator.outputs[0].type = (StringTensorType if classes.dtype.kind in "UO" else Int64TensorType)([None])
    operator.outputs[1].type = FloatTensorType([None, len(classes)])


def _regressor_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType  # lazy: heavy

    operator.outputs[0].type = FloatTensorType([None, 1])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    booster = model.booster if isinstance(model, BoostedClassifier | BoostedRegressor) else boosted(model)
    try:
        forest = forest_of(booster)
    except UnconvertibleError as error:
        raise RuntimeError(f"{type(model).__name__}: {error}") from error
    source = operator.inputs[0].full_name
    if dtype_of(operator.inputs[0]) == np.float64 and forest.double:
        source = rank(scope, container, source, forest.ranked())
    elif dtype_of(operator.inputs[0]) == np.float64:
        source = step(scope, container, "Cast", [source], to=1)
    sums = add_trees(forest, scope, container, source)
    # A CalibratedClassifierCV moves the sums themselves, where an estimator gives them.
    raw = booster.classifies and container.get_options(model, {"raw_scores": False})["raw_scores"]
    if raw:
        forest.link = "identity"
    answers = _linked(forest, scope, container, sums)
    if not booster.classifies:
        _finish(scope, container, answers, operator.outputs[0])
        return
    if forest.targets == 1:
        one = constant(scope, container, [1], [0.0 if raw else 1.0])
        other = step(scope, container, "Sub", [one, answers])
        answers = step(scope, container, "Concat", [other, answers], axis=1)
    _finish(scope, container, answers, operator.outputs[1])
    _label(scope, container, answers, model.classes_, operator.outputs[0].full_name)


def _linked(forest: Forest, scope: Any, container: Any, sums: str) -> str:
    """From the sums [n, targets] to values or probabilities."""
    if forest.scale != 1.0:
        sums = step(scope, container, "Mul", [sums, constant(scope, container, [1], [forest.scale])])
    if any(forest.base):
        base = constant(scope, container, [1, len(forest.base)], list(forest.base))
        sums = step(scope, container, "Add", [sums, base])
    if forest.link == "sigmoid":
        return step(scope, container, "Sigmoid", [sums])
    if forest.link == "softmax":
        return step(scope, container, "Softmax", [sums], axis=1)
    if forest.link == "exp":
        return step(scope, container, "Exp", [sums])
    if forest.link == "each_sigmoid":
        return step(scope, container, "Sigmoid", [sums])
    if forest.link == "signed_square":
        return step(scope, container, "Mul", [sums, step(scope, container, "Abs", [sums])])
    return sums


def _finish(scope: Any, container: Any, source: str, output: Any) -> None:
    container.add_node(
        "Cast",
        [source],
        output.full_name,
        name=scope.get_unique_operator_name("Cast"),
        op_version=13,
        to=cast_type(output),
    )


def _label(scope: Any, container: Any, scores: str, classes: Any, output: str) -> None:
    from onnx import TensorProto  # lazy: heavy

    held = np.asarray(classes)
    text = held.dtype.kind in "UO"
    values = [str(one).encode() for one in held.tolist()] if text else [int(one) for one in held.tolist()]
    kind = TensorProto.STRING if text else TensorProto.INT64
    names = constant(scope, container, [len(values)], values, kind)
    place = step(scope, container, "ArgMax", [scores], axis=1, keepdims=0)
    container.add_node(
        "Gather", [names, place], output, name=scope.get_unique_operator_name("Gather"), op_version=13, axis=0
    )
