"""Operators and constants in the containers of skl2onnx, shared by the converters that are ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOAT = 1


def dtype_of(variable: Any) -> Any:
    """float64 for a variable of doubles, else float32."""
    from skl2onnx.common.data_types import guess_numpy_type  # lazy: heavy

    return np.float64 if guess_numpy_type(variable.type) == np.float64 else np.float32


def cast_type(variable: Any) -> int:
    """The ONNX element type of a variable of numbers."""
    from onnx import TensorProto  # lazy: heavy

    return int(TensorProto.DOUBLE if dtype_of(variable) == np.float64 else TensorProto.FLOAT)


def constant(scope: Any, container: Any, shape: Sequence[int], values: Any, kind: int = _FLOAT) -> str:
    """A constant; returns its name."""
    name: str = scope.get_unique_variable_name("constant")
    container.add_initializer(name, kind, list(shape), values)
    return name


def step(scope: Any, container: Any, operator: str, inputs: list[str], **attributes: Any) -> str:
    """An operator; returns the name of its output."""
    output: str = scope.get_unique_variable_name("step")
    container.add_node(
        operator, inputs, output, name=scope.get_unique_operator_name(operator), op_version=13, **attributes
    )
    return output


def rank(scope: Any, container: Any, source: str, points: list[NDArray[np.float64]]) -> str:
    """[n, k] of 64-bit numbers to [n, k] of 32-bit ranks: how many split points of its feature are below; NaN stays."""
    from onnx import TensorProto  # lazy: heavy

    nan = constant(scope, container, [1], [np.nan])
    axes = constant(scope, container, [1], [1], TensorProto.INT64)
    columns = []
    for feature, known in enumerate(points):
        place = constant(scope, container, [1], [feature], TensorProto.INT64)
        column = step(scope, container, "Gather", [source, place], axis=1)
        # A feature that no tree splits on needs one point all the same: an empty tensor has no shape to compare with.
        held = known if len(known) else [np.inf]
        below = constant(scope, container, [1, len(held)], held, TensorProto.DOUBLE)
        less = step(scope, container, "Less", [below, column])
        flags = step(scope, container, "Cast", [less], to=TensorProto.FLOAT)
        count = step(scope, container, "ReduceSum", [flags, axes], keepdims=1)
        missing = step(scope, container, "IsNaN", [column])
        columns.append(step(scope, container, "Where", [missing, nan, count]))
    return step(scope, container, "Concat", columns, axis=1)
