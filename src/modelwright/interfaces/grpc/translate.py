"""A request to a call of the plane, and its answer back."""

from __future__ import annotations

import time
from typing import Any

from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES
from modelwright.interfaces.grpc import tensors
from modelwright.interfaces.grpc.guard import Shared
from modelwright.serve import each_row
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.classification import classify
from modelwright.serve.sequences import mark_of
from modelwright.serve.validate import datatype_of


def parameter(request: Any, name: str) -> Any:
    """A parameter's value, whichever of the five types it has; None where it is not given."""
    if name not in request.parameters:  # a look-up would add it
        return None
    given = request.parameters[name]
    chosen = given.WhichOneof("parameter_choice")
    return getattr(given, chosen) if chosen else None


def by_row(request: Any) -> bool:
    """Whether rows may fail by themselves."""
    return bool(request.parameters) and parameter(request, "row_errors") is True


def to_call(shared: Shared, request: Any, actor: str) -> PredictCall:
    """The call that a request asks for.

    Only the parameters ``event_time``, ``row_errors`` and those of sequences mean something. Every other one, also
    those that Triton reserves (``priority``, ``timeout``, ``triton_*``, ...), is taken and left alone.

    Raises:
        BadInputError: the request contradicts itself.
    """
    wanted = [output.name for output in request.outputs] if request.outputs else None
    if wanted:
        _class_counts(request)
    given = parameter(request, "event_time")
    sequence = None
    if "sequence_id" in request.parameters:
        sequence = mark_of(*(parameter(request, f"sequence_{part}") for part in ("id", "start", "end")))
    return PredictCall(
        request.model_name,
        _inputs(shared, request),
        actor,
        time.time(),
        request.model_version,
        request.id,
        wanted,
        None if given is None else shared.event_time(given),
        {},
        sequence=sequence,
    )


def _inputs(shared: Shared, request: Any) -> dict[str, NDArray[Any]]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise BadInputError("serve.bad-request", f"There are {len(request.inputs)} inputs and {len(raw)} raw contents.")
    inputs: dict[str, NDArray[Any]] = {}
    for index, item in enumerate(request.inputs):
        if item.name in inputs:
            raise BadInputError("serve.bad-request", f"Input {item.name[:100]!r} is given twice.")
        if item.parameters:
            _refuse_shared_memory(item)
        datatype, shape = ("BYTES" if item.datatype == "STRING" else item.datatype), list(item.shape)
        if not raw:
            inputs[item.name] = tensors.decode_contents(item.name, datatype, shape, item.contents)
            continue
        if item.HasField("contents"):
            raise BadInputError("serve.bad-request", f"Input {item.name[:100]!r} has both contents and raw contents.")
        if datatype not in DATATYPES:
            raise BadInputError(
                "serve.unsupported-datatype", f"Input {item.name[:100]!r} has the datatype {datatype[:20]!r}."
            )
        inputs[item.name] = shared.decode_raw(item.name, datatype, shape, memoryview(raw[index]))
    return inputs


def _class_counts(request: Any) -> dict[str, int]:
    """How many classes are wanted of which output."""
    counts: dict[str, int] = {}
    for output in request.outputs:
        if not output.parameters:
            continue
        _refuse_shared_memory(output)
        count = parameter(output, "classification")
        if count is None:
            continue
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise BadInputError(
                "serve.bad-classification",
                f"The parameter classification of output {output.name[:100]!r} is no number of classes.",
                fix="Give a whole number, at least 1.",
            )
        counts[output.name] = count
    return counts


def _refuse_shared_memory(tensor: Any) -> None:
    if "shared_memory_region" in tensor.parameters:
        raise BadInputError(
            "grpc.no-shared-memory",
            f"Tensor {tensor.name[:100]!r} names a region of shared memory, which this server does not read or write.",
            why="The extensions that the server metadata lists have no shared memory among them.",
            fix="Send the data in the request, and take it from the response.",
        )


def fill(shared: Shared, answer: Answer, request: Any, response: Any) -> None:
    """Write the answer: raw where the request was raw, or where a datatype has no typed contents.

    Raises:
        BadInputError: ``serve.not-classifiable``.
    """
    outputs = answer.outputs
    if request.outputs:
        for name, count in _class_counts(request).items():
            outputs = {**outputs, name: classify(outputs[name], count, answer.signature.classes)}
    if by_row(request):
        response.parameters["row_errors"].string_param = each_row.in_words(answer)
    names = {name: datatype_of(tensor) for name, tensor in outputs.items()}
    raw = bool(request.raw_input_contents) or not all(map(tensors.typed, names.values()))
    response.model_name, response.model_version, response.id = answer.model, answer.version, request.id
    for name, tensor in outputs.items():
        output = response.outputs.add(name=name, datatype=names[name], shape=tensor.shape)
        if raw:
            response.raw_output_contents.append(shared.encode_raw(tensor))
        else:
            tensors.encode_contents(names[name], tensor, output.contents)
