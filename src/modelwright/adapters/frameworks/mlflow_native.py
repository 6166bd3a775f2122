"""A model of MLflow's that runs as code: its signature from the examples and from what it answers.

Runs in the jailed process only.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.families import Asked
from modelwright.adapters.frameworks.native_answers import (
    Outputs,
    Proven,
    agreement,
    native_typings,
    output_specs,
    stands_alone,
)
from modelwright.adapters.frameworks.native_columns import column_inputs, proven_by_columns
from modelwright.core.errors import BadInputError
from modelwright.core.native import Native
from modelwright.core.signature import DATATYPES, Signature, TensorSpec
from modelwright.features.columns import feeds
from modelwright.features.tabular import rows_evenly
from modelwright.native import open_model
from modelwright.native.mlflow_model import VALUE
from modelwright.ports.framework import Conversion

NATIVE = Native("mlflow", "model/MLmodel")
_ROWS = 500
_DATATYPES = {dtype: name for name, dtype in DATATYPES.items()}


def import_trusted() -> None:
    """Nothing: MLflow imports Polars where it is, whose threads must not stand before the jail closes around all."""


def opened(asked: Asked) -> Path:
    """``MLmodel``, whose folder is opened as serving will open it."""
    return asked.path


def convert_opened(file: Path, asked: Asked) -> Conversion:
    """What a package needs to serve the model behind its flavour ``python_function``.

    Raises:
        BadInputError: ``native.unreadable-model``, ``serve.model-rejected-input``.
        InternalError: ``native.bad-answer``.
        RefusedError: ``pack.native-differs``, ``pack.not-repeatable``.
    """
    proven = _tensors(file, asked) if asked.hints.tensors else _table(file, asked)
    apart = stands_alone(proven.run, proven.feeds)
    return Conversion(
        onnx=b"",
        signature=replace(proven.signature, target=asked.target),
        parity=None,  # what it answers through the loader is all that there is to compare with
        inputs=proven.feeds,
        outputs=proven.outputs,
        framework="mlflow",
        framework_version=_version(),
        model_class=_behind(file),
        environment=environment(["mlflow", "numpy", "pandas", _behind(file).partition(".")[0], *_flavors(file)]),
        notes={"route": asked.why} | ({"rows": f"do not stand alone: {apart}"} if apart else {}),
        row_independent=not apart,
        native=NATIVE,
    )


def _table(file: Path, asked: Asked) -> Proven:
    examples = asked.examples
    assert examples is not None  # refused before the process was started
    rows = examples.take(rows_evenly(len(examples), _ROWS))
    exact = native_typings(rows, rows.names)[-1]
    own = open_model(NATIVE, file, inputs := column_inputs(examples, exact))(feeds(inputs, rows))
    _require(own)
    return proven_by_columns(NATIVE, file, examples, rows, own, _meaning(own), taken=own)


def _tensors(file: Path, asked: Asked) -> Proven:
    tensors = dict(asked.hints.tensors)
    specs = tuple(TensorSpec(name, _DATATYPES[held.dtype], (-1, *held.shape[1:])) for name, held in tensors.items())
    own = open_model(NATIVE, file, Signature(specs, ()))(tensors)
    _require(own)
    signature = Signature(specs, output_specs(own), **_meaning(own))
    run = open_model(NATIVE, file, signature)
    found = run(tensors)
    return Proven(signature, tensors, found, agreement(own, found, numeric_type="as in the examples"), run)


def _meaning(own: Outputs) -> dict[str, Any]:
    value = own.get(VALUE)
    if value is not None and value.dtype.kind == "f" and value.size == len(value):
        return {"task": "regression", "label_output": VALUE}
    return {}


def _require(own: Outputs) -> None:
    if not own:
        raise BadInputError(
            "pack.unsupported-model", "The model answers nothing.", fix="Return one value for each row."
        )


def _behind(file: Path) -> str:
    """The module that MLflow loads the model with."""
    return str(yaml.safe_load(file.read_bytes())["flavors"]["python_function"]["loader_module"])


def _flavors(file: Path) -> list[str]:
    return [str(name) for name in yaml.safe_load(file.read_bytes())["flavors"] if name != "python_function"]


def _version() -> str:
    import mlflow  # lazy: heavy

    version: str = mlflow.__version__
    return version
