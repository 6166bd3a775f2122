"""Conversions that the converter lacks or gets wrong, handed to it beside its own. Parity proves them on rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.graph_nodes import cast_type, dtype_of, rank
from modelwright.native.estimators import parts

_Converter = Callable[[Any, Any, Any], None]
# A function of each value as ONNX operators one after the other: an operator, or one with a constant on its right.
_Steps = tuple[str | tuple[str, float], ...]
ELEMENTWISE: Mapping[Any, _Steps] = {
    np.log: ("Log",),
    np.log1p: (("Add", 1.0), "Log"),
    np.log2: ("Log", ("Mul", 1 / np.log(2))),
    np.log10: ("Log", ("Mul", 1 / np.log(10))),
    np.exp: ("Exp",),
    np.expm1: ("Exp", ("Sub", 1.0)),
    np.sqrt: ("Sqrt",),
    np.square: (("Pow", 2.0),),
    np.abs: ("Abs",),
    np.negative: ("Neg",),
    np.reciprocal: ("Reciprocal",),
    np.sign: ("Sign",),
    np.sin: ("Sin",),
    np.cos: ("Cos",),
    np.tanh: ("Tanh",),
    np.floor: ("Floor",),
    np.ceil: ("Ceil",),
}
_TREES = ("DecisionTree", "ExtraTree", "RandomForest", "GradientBoosting")


def conversions(model: Any) -> tuple[dict[type, _Converter], dict[type, Callable[[Any], None]]]:
    """Conversion functions and shape calculators by class, for the parts of this model that need ours."""
    found: dict[type, _Converter] = {}
    shapes: dict[type, Callable[[Any], None]] = {}
    for part in parts(model):
        kind = type(part)
        if kind.__name__ == "FunctionTransformer" and onnx_steps(part.func, part.kw_args) is not None:
            found[kind], shapes[kind] = _function, _same_columns
        elif kind.__name__ == "TransformedTargetRegressor" and hasattr(part, "regressor_") and _undo(part):
            found[kind], shapes[kind] = _transformed_target, _one_number
        elif kind.__name__.startswith("HistGradientBoosting"):
            found[kind] = _boosted
        elif kind.__name__.startswith(_TREES):
            found[kind] = _trees
        elif hasattr(part, "get_support") and hasattr(part, "n_features_in_"):
            found[kind] = _selected
    return found, shapes


def onnx_steps(function: Any, arguments: Any) -> _Steps | None:
    """ONNX steps of a NumPy function of each value; None for any other function, or one with arguments."""
    steps = ELEMENTWISE.get(function) if isinstance(function, np.ufunc) and not arguments else None
    return steps or None


def _own(operator: Any) -> _Converter:
    from skl2onnx.common import _registration  # lazy: heavy

    own: _Converter = _registration.get_converter(operator.type)
    return own


def _apply(scope: Any, container: Any, source: str, target: str, steps: _Steps, dtype: Any) -> None:
    """Nodes from value ``source`` to value ``target``."""
    from onnx import TensorProto  # lazy: heavy

    onnx_type = TensorProto.DOUBLE if dtype == np.float64 else TensorProto.FLOAT
    for index, step in enumerate(steps):
        output = target if index == len(steps) - 1 else scope.get_unique_variable_name("step")
        inputs = [source]
        if isinstance(step, tuple):
            constant = scope.get_unique_variable_name("constant")
            container.add_initializer(constant, onnx_type, [1], [step[1]])
            inputs.append(constant)
        name = step if isinstance(step, str) else step[0]
        _node(scope, container, name, inputs, output)
        source = output


def _function(scope: Any, operator: Any, container: Any) -> None:
    """``FunctionTransformer`` of a NumPy function that ONNX has; without a function it passes values on."""
    part = operator.raw_operator
    steps = onnx_steps(part.func, part.kw_args)
    if steps is None:
        _own(operator)(scope, operator, container)
        return
    source = operator.inputs[0].full_name
    if len(operator.inputs) > 1:
        source = scope.get_unique_variable_name("joined")
        names = [value.full_name for value in operator.inputs]
        _node(scope, container, "Concat", names, source, axis=1)
    _apply(scope, container, source, operator.outputs[0].full_name, steps, dtype_of(operator.inputs[0]))


def _undo(model: Any) -> _Steps | None:
    """From the transformed target back to the target."""
    transformer = model.transformer_
    kind = type(transformer).__name__
    if kind == "FunctionTransformer":
        return onnx_steps(transformer.inverse_func, transformer.inv_kw_args)
    if kind == "StandardScaler":
        scale = 1.0 if transformer.scale_ is None else float(transformer.scale_[0])
        mean = float(transformer.mean_[0]) if transformer.with_mean else 0.0
        return (("Mul", scale), ("Add", mean))
    if kind == "MinMaxScaler":
        return (("Sub", float(transformer.min_[0])), ("Div", float(transformer.scale_[0])))
    return None


def _transformed_target(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx._supported_operators import sklearn_operator_name_map  # lazy: heavy

    model = operator.raw_operator
    inner = model.regressor_
    nested = scope.declare_local_operator(sklearn_operator_name_map[type(inner)], inner)
    nested.inputs = list(operator.inputs)
    answer = scope.declare_local_variable("transformed", type(operator.outputs[0].type)())
    nested.outputs.append(answer)
    steps = _undo(model) or ()
    _apply(scope, container, answer.full_name, operator.outputs[0].full_name, steps, dtype_of(operator.outputs[0]))


def _one_number(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType  # lazy: heavy

    double = all(isinstance(value.type, DoubleTensorType) for value in operator.inputs)
    operator.outputs[0].type = (DoubleTensorType if double else FloatTensorType)([None, 1])


def _same_columns(operator: Any) -> None:
    """As many columns as go in; a type of numbers that keeps fractions."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType  # lazy: heavy

    double = all(isinstance(value.type, DoubleTensorType) for value in operator.inputs)
    width = sum(int(value.type.shape[1] or 0) for value in operator.inputs)
    operator.outputs[0].type = (DoubleTensorType if double else FloatTensorType)([None, width or None])


def _boosted(scope: Any, operator: Any, container: Any) -> None:
    """Histogram gradient boosting, with what the converter leaves out.

    Its split points are 64-bit numbers, and ONNX Runtime's trees are certain of 32 bits only: of 64-bit inputs the
    graph first takes ranks among the split points, which 32 bits hold exactly. For counts and amounts (Poisson and
    gamma loss) the answer is the exponential of the trees' sum.
    """
    from skl2onnx.common.data_types import FloatTensorType  # lazy: heavy

    model = operator.raw_operator
    double = dtype_of(operator.inputs[0]) == np.float64
    logarithm = model.loss in {"poisson", "gamma"}
    inputs = list(operator.inputs)
    if double:
        ranks = rank(scope, container, operator.inputs[0].full_name, _to_ranks(model))
        inputs = [_value(ranks, FloatTensorType([None, model.n_features_in_]))]
    else:
        _round_down(model)
    if double or logarithm:
        _in_single(scope, operator, container, inputs, ("Exp",) if logarithm else ("Identity",))
    else:
        _own(operator)(scope, operator, container)


def _in_single(scope: Any, operator: Any, container: Any, inputs: list[Any], steps: _Steps) -> None:
    """The converter's own, of 32-bit ``inputs``; its last output goes through steps and into its declared type."""
    from skl2onnx.common.data_types import FloatTensorType  # lazy: heavy

    answer = operator.outputs[-1]  # of a classifier its probabilities
    inner = _value(scope.get_unique_variable_name("value"), FloatTensorType([None, None]))
    outputs = [*operator.outputs[:-1], inner]
    held = {key: getattr(operator, key) for key in ("type", "raw_operator", "target_opset", "full_name")}
    names = {
        "input_full_names": [value.full_name for value in inputs],
        "output_full_names": [value.full_name for value in outputs],
    }
    _own(operator)(scope, SimpleNamespace(**held, **names, inputs=inputs, outputs=outputs), container)
    single = scope.get_unique_variable_name("single")
    _apply(scope, container, inner.full_name, single, steps, np.float32)
    _node(scope, container, "Cast", [single], answer.full_name, to=cast_type(answer))


def _round_down(model: Any) -> None:
    """Split points (of a copy) to the 32-bit number below: x <= t stays as it is for each 32-bit x."""
    for nodes in (tree.nodes for stage in model._predictors for tree in stage):  # noqa: SLF001 - no public way
        exact = nodes["num_threshold"]
        with np.errstate(over="ignore"):
            near = exact.astype(np.float32)
        nodes["num_threshold"] = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)


def _value(name: str, kind: Any) -> SimpleNamespace:
    return SimpleNamespace(full_name=name, onnx_name=name, raw_name=name, type=kind)


def _node(scope: Any, container: Any, name: str, inputs: list[str], output: str, **attributes: Any) -> None:
    container.add_node(name, inputs, output, name=scope.get_unique_operator_name(name), op_version=13, **attributes)


def _to_ranks(model: Any) -> list[NDArray[np.float64]]:
    """Split points by feature, sorted; the trees (of a copy) are changed to compare ranks: x <= t[i] as rank <= i."""
    trees = [tree.nodes for stage in model._predictors for tree in stage]  # noqa: SLF001 - no public way to the trees
    points = []
    for feature in range(model.n_features_in_):
        splits = [
            nodes[(nodes["is_leaf"] == 0) & (nodes["feature_idx"] == feature)]["num_threshold"] for nodes in trees
        ]
        points.append(np.unique(np.concatenate(splits)))
    for nodes in trees:
        for index in np.flatnonzero(nodes["is_leaf"] == 0):
            known = points[int(nodes["feature_idx"][index])]
            nodes["num_threshold"][index] = np.searchsorted(known, nodes["num_threshold"][index]) + 0.5
    return points


def _selected(scope: Any, operator: Any, container: Any) -> None:
    """Selected columns; the converter's own fails where the first column alone is selected."""
    from onnx import TensorProto  # lazy: heavy

    index = operator.raw_operator.get_support(indices=True)
    if len(index) == 0:
        raise RuntimeError(f"{type(operator.raw_operator).__name__} selects no column")
    name = scope.get_unique_variable_name("columns")
    container.add_initializer(name, TensorProto.INT64, [len(index)], index)
    container.add_node(
        "ArrayFeatureExtractor",
        [operator.inputs[0].full_name, name],
        operator.outputs[0].full_name,
        op_domain="ai.onnx.ml",
        name=scope.get_unique_operator_name("ArrayFeatureExtractor"),
    )


def _trees(scope: Any, operator: Any, container: Any) -> None:
    """Trees that learnt where missing values go (the converter sends them all to the right), and 64-bit inputs.

    Trees round their inputs to 32 bits themselves; the converter compares 64 bits where it is given 64.
    """
    from skl2onnx.common.data_types import FloatTensorType  # lazy: heavy

    before = len(container.nodes)
    if dtype_of(operator.inputs[0]) == np.float64:
        rounded = _value(
            scope.get_unique_variable_name("rounded"), FloatTensorType([None, operator.raw_operator.n_features_in_])
        )
        source = operator.inputs[0].full_name
        _node(scope, container, "Cast", [source], rounded.full_name, to=cast_type(rounded))
        _in_single(scope, operator, container, [rounded], ("Identity",))
    else:
        _own(operator)(scope, operator, container)
    model = operator.raw_operator
    held = np.asarray(getattr(model, "estimators_", [model]), dtype=object).ravel()
    trees = [member.tree_ for member in held]
    if not any(tree.missing_go_to_left.any() for tree in trees):
        return
    for node in container.nodes[before:]:
        if node.op_type.startswith("TreeEnsemble"):
            _mark_missing(node, [tree.missing_go_to_left for tree in trees])


def _mark_missing(node: Any, goes_left: list[NDArray[Any]]) -> None:
    held = {attribute.name: attribute for attribute in node.attribute}
    places = zip(held["nodes_treeids"].ints, held["nodes_nodeids"].ints, held["nodes_modes"].strings, strict=True)
    marks = [0 if mode == b"LEAF" else int(goes_left[tree][index]) for tree, index, mode in places]
    held["nodes_missing_value_tracks_true"].ints[:] = marks
