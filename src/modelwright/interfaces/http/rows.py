"""Rows and columns, as the row-wise dialects send them, to the inputs of a call, and an answer back to rows.

A value stays the JSON text that it came as until :func:`.tensors.decode_json`, the strict decoder of the Open Inference
Protocol's JSON tensors, reads it: so the verdict on a value is the same in every dialect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature, TensorSpec
from modelwright.interfaces.http import infer, tensors
from modelwright.serve.call import Answer, PredictCall

Text = msgspec.Raw | bytes
"""One value as JSON."""

Picks = list[tuple[TensorSpec, int | list[int]]]
"""For each input the column that holds it whole, or the columns of its features in their order."""

_list = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_table = msgspec.json.Decoder(list[list[msgspec.Raw]])
_records = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def datatypes(signature: Signature) -> dict[str, str]:
    """The datatype of every column that a table for this model may have, by name, in the model's order.

    A column is a feature where the input names its features, else the input. The columns of a model's only input that
    names none are called by their position: "0", "1" and so on.
    """
    return {name: spec.datatype for spec in signature.inputs for name in _columns_of(signature, spec)}


def elements(text: Text) -> list[msgspec.Raw]:
    """The elements of a JSON list.

    Raises:
        BadInputError: ``serve.bad-request``, ``serve.bad-json``.
    """
    return infer.parse(_list, bytes(text))


def members(text: Text) -> dict[str, msgspec.Raw]:
    """The members of a JSON object.

    Raises:
        BadInputError: ``serve.bad-request``, ``serve.bad-json``.
    """
    return infer.parse(_object, bytes(text))


def is_list(text: Text) -> bool:
    """Whether a value is a JSON list."""
    return bytes(memoryview(text)[:1]) == b"["


def is_object(text: Text) -> bool:
    """Whether a value is a JSON object."""
    return bytes(memoryview(text)[:1]) == b"{"


def take_instances(call: PredictCall, signature: Signature, instances: Sequence[Text]) -> None:
    """Fill the call's inputs from rows.

    A row is an object with a value per input or per feature, or a list: the row of the only input, or a value per
    input in the signature's order.

    Raises:
        BadInputError: ``serve.bad-request``, ``serve.missing-input``, ``serve.unknown-input`` and everything of
            :func:`.tensors.decode_json`.
    """
    specs = signature.inputs
    if instances and is_object(instances[0]):
        records = infer.parse(_records, listed(instances))
        take_records(call, signature, records)
    elif len(specs) == 1:
        _take(call, specs[0], instances)
    else:
        rows = infer.parse(_table, listed(instances))
        if any(len(row) != len(specs) for row in rows):
            raise BadInputError(
                "serve.bad-request",
                f"A row for model {call.model!r} has a value for each of its {len(specs)} inputs.",
            )
        for index, spec in enumerate(specs):
            _take(call, spec, [row[index] for row in rows])


def take_records(call: PredictCall, signature: Signature, records: Sequence[Mapping[str, Text]]) -> None:
    """Fill the call's inputs from rows by name; all have the names of the first.

    Raises:
        BadInputError: as :func:`take_instances`.
    """
    names = list(records[0]) if records else list(datatypes(signature))
    take_table(call, signature, names, [_fields(call.model, record, names) for record in records])


def take_table(call: PredictCall, signature: Signature, names: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    """Fill the call's inputs from a table; every row has as many values as there are names.

    Raises:
        BadInputError: as :func:`take_instances`.
    """
    for spec, pick in _picks(call.model, signature, names):
        if isinstance(pick, int):
            _take(call, spec, [row[pick] for row in rows])
        elif pick == list(range(len(names))):
            _take(call, spec, list(map(listed, rows)), width=len(pick))
        else:
            _take(call, spec, [listed([row[index] for index in pick]) for row in rows], width=len(pick))


def take_columns(call: PredictCall, signature: Signature, columns: Text) -> None:
    """Fill the call's inputs from an object of columns by name, or from the rows of the only input.

    Raises:
        BadInputError: as :func:`take_instances`.
    """
    if is_list(columns) and len(signature.inputs) == 1:
        _take(call, signature.inputs[0], elements(columns))
        return
    found = members(columns) if is_object(columns) else {"": b""}
    if not all(map(is_list, found.values())):
        raise BadInputError(
            "serve.bad-request",
            f"The inputs of model {call.model!r} are an object with a list of values per input.",
            fix=f"Its inputs: {', '.join(spec.name for spec in signature.inputs)}.",
        )
    values = list(map(elements, found.values()))
    for spec, pick in _picks(call.model, signature, list(found)):
        if isinstance(pick, int):
            _take(call, spec, values[pick])
            continue
        if len({len(values[index]) for index in pick}) > 1:
            raise BadInputError("serve.bad-request", f"The columns of input {spec.name!r} differ in length.")
        _take(call, spec, list(map(listed, zip(*(values[index] for index in pick), strict=True))), width=len(pick))


def listed(values: Sequence[Text]) -> bytes:
    """Values as one JSON list."""
    return b"[%b]" % b",".join(values)


def columns(answer: Answer) -> dict[str, list[Any]]:
    """Every output as nested lists.

    Raises:
        BadInputError: ``serve.not-json``: NaN or infinity.
    """
    return {name: nested(name, tensor) for name, tensor in answer.outputs.items()}


def predictions(answer: Answer, *, plain: bool = False) -> list[Any]:
    """One prediction per row: the only output's value, or an object of the outputs by name.

    With ``plain`` an output with one value per row gives that value where else it gives a list of it.

    Raises:
        BadInputError: ``serve.not-json``: NaN or infinity; ``serve.not-rows``: an output has no value per row.
    """
    require_rows(answer)
    found = {
        name: nested(name, tensor.reshape(-1) if plain and tensor.ndim == 2 and tensor.shape[1] == 1 else tensor)
        for name, tensor in answer.outputs.items()
    }
    if len(found) == 1:
        return next(iter(found.values()))
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def require_rows(answer: Answer) -> None:
    """Check that every output has a value per row.

    Raises:
        BadInputError: ``serve.not-rows``.
    """
    if any(tensor.shape[:1] != (answer.rows,) for tensor in answer.outputs.values()):
        raise BadInputError(
            "serve.not-rows",
            f"The outputs of model {answer.model!r} have no value per row.",
            fix="Ask over /v2/models/{model}/infer.",
        )


def nested(name: str, tensor: NDArray[Any]) -> list[Any]:
    """The tensor as nested lists; by way of its JSON text, so that the verdict on its values is the same everywhere.

    Raises:
        BadInputError: ``serve.not-json``: NaN or infinity.
    """
    values = np.empty(tensor.size, dtype=object)
    values[:] = msgspec.json.decode(tensors.encode_json(name, tensor))
    return values.reshape(tensor.shape).tolist()  # type: ignore[no-any-return]


def _columns_of(signature: Signature, spec: TensorSpec) -> tuple[str, ...]:
    if spec.features:
        return spec.features
    if len(signature.inputs) == 1 and len(spec.shape) == 2 and spec.shape[1] > 1:
        return tuple(map(str, range(spec.shape[1])))
    return (spec.name,)


def _picks(model: str, signature: Signature, names: Sequence[str]) -> Picks:
    index = {name: place for place, name in enumerate(names)}
    if len(index) != len(names):
        raise BadInputError("serve.bad-request", "A column is named twice.")
    picks: Picks = []
    known: set[str] = set()
    for spec in signature.inputs:
        if spec.name in index:
            picks.append((spec, index[spec.name]))
            known.add(spec.name)
            continue
        own = _columns_of(signature, spec)
        known.update(own)
        picks.append((spec, [index.get(name, -1) for name in own]))
    for name in names:
        if name not in known:
            raise BadInputError(
                "serve.unknown-input",
                f"Model {model!r} has no input {name[:100]!r}.",
                fix=f"A row holds {', '.join(datatypes(signature))}.",
            )
    for spec, pick in picks:
        if isinstance(pick, list) and -1 in pick:
            missing = _columns_of(signature, spec)[pick.index(-1)]
            raise BadInputError("serve.missing-input", f"Input {missing!r} of model {model!r} is missing.")
    return picks


def _fields(model: str, instance: Mapping[str, Text], names: list[str]) -> list[Text]:
    for name in instance:
        if name not in names:
            raise BadInputError(
                "serve.unknown-input",
                f"A row for model {model!r} has {name[:100]!r}, which the first row has not.",
                fix=f"The first row holds {', '.join(names)[:200]}.",
            )
    if len(instance) != len(names):
        missing = next(name for name in names if name not in instance)
        raise BadInputError("serve.missing-input", f"Input {missing[:100]!r} of model {model!r} is missing in a row.")
    return [instance[name] for name in names]


def _take(call: PredictCall, spec: TensorSpec, values: Sequence[Text], *, width: int | None = None) -> None:
    shape = [0, width] if width is not None and not values else _shape(spec, values)
    text = msgspec.Raw(listed(values))
    call.inputs[spec.name], missing = tensors.decode_json(spec.name, spec.datatype, shape, text)
    if missing is not None:
        call.nulls = {**call.nulls, spec.name: missing}


def _shape(spec: TensorSpec, values: Sequence[Text]) -> list[int]:
    """The shape of the values as nested; decoding proves that every row has it."""
    shape = [len(values)]
    inner = values[0] if values else b""
    while is_list(inner) and len(shape) <= tensors.MAX_DIMENSIONS:
        within = elements(inner)
        shape.append(len(within))
        inner = within[0] if within else b""
    return shape + [1] * (len(shape) == 1 and spec.shape[1:] == (1,))
