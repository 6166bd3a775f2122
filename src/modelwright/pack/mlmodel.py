"""The files that make a package a model directory of MLflow's as well: ``MLmodel``, environments, an input example.

The format: https://mlflow.org/docs/latest/ml/model/. Equal input gives equal bytes: nothing here asks for the time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from modelwright.core import package_codec as codec
from modelwright.core.about import __version__
from modelwright.core.native import NATIVE_ROUTE
from modelwright.core.package import Description, Golden, canonical_json
from modelwright.core.record_codec import to_json
from modelwright.core.signature import DATATYPES, Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.columns import input_columns, output_columns

LOADER = "modelwright.interfaces.embedded.mlflow"
"""Kept for good: packages that were written name it."""
_MLFLOW = "mlflow>=2.9"
_COLUMN_TYPES = {"b": "boolean", "i": "long", "u": "long", "f": "double", "M": "datetime", "O": "string"}


def mlflow_files(
    description: Description, signature: Signature, golden: Golden | None, examples: Table | None
) -> dict[str, bytes]:
    """The files by name.

    Args:
        description: when, with which Python and on which route the package was made.
        signature: its features become columns; a package without features takes tensors.
        golden: its rows, examples alone, become the input example.
        examples: the kinds of their columns are those that MLflow asks for: of a model that takes 64-bit fractions
            and saw whole numbers it is sent whole numbers.
    """
    example = _example(signature, golden)
    held: dict[str, Any] = {
        "flavors": _flavors(description),
        "model_uuid": hashlib.sha256(canonical_json(to_json(description))).hexdigest()[:32],
        "signature": _schema(signature, golden, examples),
        "utc_time_created": description.created_at.removesuffix("+00:00").replace("T", " "),
    }
    files = _environments(description)
    if example is not None:
        kind, content = example
        held["saved_input_example_info"] = {"artifact_path": codec.INPUT_EXAMPLE, **kind}
        files[codec.INPUT_EXAMPLE] = canonical_json(content)
    return {codec.MLMODEL: _yaml(held), **files}


def _flavors(description: Description) -> dict[str, Any]:
    environment = {"conda": codec.CONDA, "virtualenv": codec.PYTHON_ENVIRONMENT}
    flavors: dict[str, Any] = {
        "python_function": {"env": environment, "loader_module": LOADER, "python_version": description.python}
    }
    if description.route == "onnx":
        flavors["onnx"] = {"code": None, "data": codec.MODEL, "providers": ["CPUExecutionProvider"]}
    return flavors


def _environments(description: Description) -> dict[str, bytes]:
    """What runs the package: this release, and the model's own libraries where it runs as code."""
    needed = [f"modelwright=={__version__}", _MLFLOW]
    if description.route == NATIVE_ROUTE:
        needed.append(f"-r {codec.REQUIREMENTS}")
    conda = {
        "name": "modelwright",
        "channels": ["conda-forge"],
        "dependencies": [f"python={description.python}", "pip", {"pip": needed}],
    }
    plain = {"python": description.python, "build_dependencies": ["pip"], "dependencies": needed}
    return {codec.CONDA: _yaml(conda), codec.PYTHON_ENVIRONMENT: _yaml(plain)}


def _schema(signature: Signature, golden: Golden | None, examples: Table | None) -> dict[str, Any]:
    """The signature in MLflow's words, each side a JSON text."""
    if signature.features:
        kinds = _kinds(signature, golden, examples)
        inputs = [{"type": kinds[name], "name": name, "required": True} for name in kinds]
    else:
        inputs = [_tensor(spec) for spec in signature.inputs]
    flat = all(len(spec.shape) in {1, 2} and -1 not in spec.shape[1:] for spec in signature.outputs)
    one = {spec.name: np.zeros((1, *spec.shape[1:]), DATATYPES[spec.datatype]) for spec in signature.outputs if flat}
    columns = output_columns(signature, one)
    outputs: list[dict[str, Any]] = [
        {"type": _output_kind(column.dtype), "name": name, "required": True} for name, column in columns.items()
    ]
    return {
        "inputs": json.dumps(inputs),
        "outputs": json.dumps(outputs or [_tensor(spec) for spec in signature.outputs]),
        "params": None,
    }


def _kinds(signature: Signature, golden: Golden | None, examples: Table | None) -> dict[str, str]:
    """MLflow's type of each feature, in the order of the inputs."""
    held = {} if examples is None else dict(examples.columns)
    if golden is not None:
        seen = input_columns(signature, codec.golden_tensors(signature.inputs, golden.inputs))
        held = seen | {name: column for name, column in held.items() if name in seen}
    names = [name for spec in signature.inputs for name in spec.features or (spec.name,)]
    return {name: _COLUMN_TYPES.get(held[name].dtype.kind, "string") if name in held else "double" for name in names}


def _output_kind(dtype: np.dtype[Any]) -> str:
    known = {"float32": "float", "int32": "integer", "int16": "integer", "int8": "integer"}
    return known.get(dtype.name, _COLUMN_TYPES[dtype.kind])


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    dtype = DATATYPES[spec.datatype]
    kind = "str" if dtype.kind == "O" else dtype.name
    shape = [-1, *spec.shape[1:]] if spec.shape else [-1]
    return {"type": "tensor", "name": spec.name, "tensor-spec": {"dtype": kind, "shape": shape}}


def _example(signature: Signature, golden: Golden | None) -> tuple[dict[str, str], object] | None:
    """How MLflow is to read the golden rows, and the rows: a data frame, or arrays by name."""
    if golden is None or any(spec.name not in golden.inputs for spec in signature.inputs):
        return None
    if not signature.features:
        return {"type": "ndarray", "format": "tf-serving"}, {"inputs": golden.inputs}
    columns = input_columns(signature, codec.golden_tensors(signature.inputs, golden.inputs))
    data: Mapping[str, list[Any]] = {name: to_json(column) for name, column in columns.items()}
    rows = [list(row) for row in zip(*data.values(), strict=True)]
    return {"type": "dataframe", "pandas_orient": "split"}, {"columns": list(data), "data": rows}


def _yaml(value: object) -> bytes:
    return yaml.safe_dump(value, sort_keys=True, allow_unicode=True).encode()
