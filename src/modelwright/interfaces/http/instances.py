"""KServe V1 request bodies (``{"instances": [...]}``) to a call of the plane, and its answer to ``{"predictions"}``.

The protocol: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. Values travel through
the same strict decoder as the Open Inference Protocol's JSON tensors, so the verdict on them is the same.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature, TensorSpec
from modelwright.interfaces.http import infer, tensors
from modelwright.serve.call import Answer, PredictCall


class InstancesRequest(msgspec.Struct, gc=False):
    """The JSON of a V1 request; what else it holds is ignored."""

    instances: list[Any]


_decoder = msgspec.json.Decoder(InstancesRequest)


def decode(
    model: str, version: str, signature: Signature, body: bytes, *, actor: str, received_at: float
) -> PredictCall:
    """One instance is one row.

    It is a value per input in an object, a value per feature in an object (for a model with one input that holds all
    features), or a list: the row of the only input, or a value per input in the signature's order.

    Raises:
        BadInputError: ``serve.bad-json``, ``serve.bad-request``, ``serve.missing-input``, ``serve.unknown-input``
            and everything of :func:`.tensors.decode_json`.
    """
    instances = infer.parse(_decoder, body)
    call = PredictCall(model, {}, actor, received_at, version)
    for spec, values in _columns(model, signature, instances.instances):
        shape = _shape(spec, values)
        call.inputs[spec.name], missing = tensors.decode_json(spec.name, spec.datatype, shape, _text(values))
        if missing is not None:
            call.nulls = {**call.nulls, spec.name: missing}
    return call


def encode(answer: Answer) -> bytes:
    """One prediction per row: the only output's value, or an object of the outputs by name.

    Raises:
        BadInputError: ``serve.not-json``: NaN or infinity.
    """
    columns = {name: _nested(name, tensor) for name, tensor in answer.outputs.items()}
    if len(columns) == 1:
        return msgspec.json.encode({"predictions": next(iter(columns.values()))})
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return msgspec.json.encode({"predictions": rows})


def _columns(model: str, signature: Signature, instances: list[Any]) -> list[tuple[TensorSpec, list[Any]]]:
    specs = signature.inputs
    if not instances or not isinstance(instances[0], dict):
        if len(specs) == 1:
            return [(specs[0], instances)]
        rows = [_row(model, instance, len(specs)) for instance in instances]
        return [(spec, [row[index] for row in rows]) for index, spec in enumerate(specs)]
    names = [spec.name for spec in specs]
    only = specs[0]
    if len(specs) == 1 and only.features and only.name not in instances[0]:
        rows = [_fields(model, instance, list(only.features)) for instance in instances]
        return [(only, rows)]
    rows = [_fields(model, instance, names) for instance in instances]
    return [(spec, [row[index] for row in rows]) for index, spec in enumerate(specs)]


def _row(model: str, instance: Any, width: int) -> list[Any]:
    if not isinstance(instance, list) or len(instance) != width:
        raise BadInputError(
            "serve.bad-request",
            f"An instance of model {model!r} is a list of {width} values, or an object with a value per input.",
        )
    return instance


def _fields(model: str, instance: Any, names: list[str]) -> list[Any]:
    if not isinstance(instance, dict):
        raise BadInputError("serve.bad-request", "Some instances are objects and some are not.")
    for name in instance:
        if name not in names:
            raise BadInputError(
                "serve.unknown-input",
                f"Model {model!r} has no input {name[:100]!r}.",
                fix=f"An instance holds {', '.join(names)}.",
            )
    if len(instance) != len(names):
        missing = next(name for name in names if name not in instance)
        raise BadInputError("serve.missing-input", f"Input {missing!r} of model {model!r} is missing in an instance.")
    return [instance[name] for name in names]


def _shape(spec: TensorSpec, values: list[Any]) -> list[int]:
    """The shape of the values as nested; decoding proves that every row has it."""
    shape, inner = [len(values)], values[0] if values else 0.0
    while isinstance(inner, list) and len(shape) <= tensors.MAX_DIMENSIONS:
        shape.append(len(inner))
        inner = inner[0] if inner else 0.0
    return shape + [1] * (len(shape) == 1 and spec.shape[1:] == (1,))


def _text(values: list[Any]) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.encode(values))
    except (RecursionError, OverflowError) as error:
        raise BadInputError(
            "serve.bad-request", "The instances are nested too deeply, or hold too large a number."
        ) from error


def _nested(name: str, tensor: NDArray[Any]) -> list[Any]:
    """The tensor as nested lists; by way of its JSON text, so that the verdict on its values is the same everywhere."""
    values = np.empty(tensor.size, dtype=object)
    values[:] = msgspec.json.decode(tensors.encode_json(name, tensor))
    return values.reshape(tensor.shape).tolist()  # type: ignore[no-any-return]
