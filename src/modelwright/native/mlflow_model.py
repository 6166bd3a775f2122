"""Opens a model directory of MLflow's by its flavour ``python_function``, whatever library stands behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature
from modelwright.features.columns import input_columns

Feeds = Mapping[str, NDArray[Any]]
VALUE = "prediction"
"""Name of an answer that has none: an array, a list or a series."""
# MLflow takes no wider number than its schema names; of these two the tensors are wider.
_NARROW = {"float": np.dtype(np.float32), "integer": np.dtype(np.int32)}


def open_mlflow(file: Path, signature: Signature) -> Callable[[Feeds], dict[str, Any]]:
    """Load the directory that ``file`` (``MLmodel``) lies in, and give what answers tensors.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a thread and a network that a jail does not have
    try:
        from mlflow import pyfunc  # lazy: only this loader needs it

        model: Any = pyfunc.load_model(str(file.parent))
    except ModuleNotFoundError as error:
        raise BadInputError(
            "native.unreadable-model",
            f"The model needs the module {error.name!r}, which is not installed here.",
            why="MLflow loads the library that trained the model.",
            fix="Install what the model's requirements.txt lists.",
        ) from error
    except Exception as error:
        raise BadInputError(
            "native.unreadable-model",
            "MLflow cannot load the model.",
            why=f"{type(error).__name__}: {str(error)[:300]}.",
            fix="Try mlflow.pyfunc.load_model(folder) with the versions that the model's requirements.txt lists.",
        ) from error
    rows = _rows(model.metadata.get_input_schema(), signature)
    return lambda feeds: named(model.predict(rows(feeds)))


def _rows(schema: Any, signature: Signature) -> Callable[[Feeds], Any]:
    """What turns input tensors into what MLflow's schema asks for: a data frame, a matrix, or arrays by name."""
    if not signature.features:
        only = signature.inputs[0].name
        whole = schema is None or schema.has_input_names()
        return lambda feeds: dict(feeds) if whole else feeds[only]
    tensors = schema is not None and schema.is_tensor_spec()
    if tensors and not schema.has_input_names():
        dtype = schema.numpy_types()[0]
        return lambda feeds: np.stack(list(input_columns(signature, feeds).values()), axis=1).astype(dtype)
    import pandas as pd  # lazy: MLflow has it

    narrow: dict[str, np.dtype[Any]] = {}
    if schema is not None and not tensors:
        kinds = {str(spec.name): spec.type.name for spec in schema.inputs if spec.name and hasattr(spec.type, "name")}
        narrow = {name: _NARROW[kind] for name, kind in kinds.items() if kind in _NARROW}

    def frame(feeds: Feeds) -> Any:
        columns = input_columns(signature, feeds)
        return pd.DataFrame({name: column.astype(narrow.get(name, column.dtype)) for name, column in columns.items()})

    return frame


def named(answer: Any) -> dict[str, NDArray[Any]]:
    """Whatever a ``python_function`` may give, as arrays by name: columns of a data frame, values of a dictionary."""
    if hasattr(answer, "columns") and hasattr(answer, "items"):
        return {str(name): _plain(series.to_numpy()) for name, series in answer.items()}
    if isinstance(answer, Mapping):
        return {str(name): _plain(value) for name, value in answer.items()}
    return {VALUE: _plain(answer.to_numpy() if hasattr(answer, "to_numpy") else answer)}


def _plain(value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype == object or array.dtype.kind == "U":
        items = array.reshape(-1).tolist()
        if items and all(isinstance(item, int | float) for item in items):  # a column of numbers among text
            return np.array(items).reshape(array.shape)
        return np.array([str(item) for item in items], dtype=object).reshape(array.shape)
    return array
