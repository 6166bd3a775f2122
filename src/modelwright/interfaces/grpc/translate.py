"""A request to a call of the plane, and its answer back."""

from __future__ import annotations

import time
from typing import Any

from numpy.typing import NDArray

from modelwright.core.access import Actor
from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES
from modelwright.interfaces.grpc import tensors
from modelwright.interfaces.grpc.guard import Shared
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.validate import datatype_of


def parameter(request: Any, name: str) -> Any:
    """A parameter's value, whichever of the five types it has; None where it is not given."""
    if name not in request.parameters:  # a look-up would add it
        return None
    given = request.parameters[name]
    chosen = given.WhichOneof("parameter_choice")
    return getattr(given, chosen) if chosen else None


def to_call(shared: Shared, request: Any, actor: Actor) -> PredictCall:
    """The call that a request asks for.

    Only the parameter ``event_time`` is ours. Every other one, those that Triton reserves among them (``sequence_id``,
    ``priority``, ``timeout``, ``triton_*``, ...), is taken and left alone.

    Raises:
        BadInputError: the request contradicts itself.
    """
    wanted = [output.name for output in request.outputs] if request.outputs else None
    given = parameter(request, "event_time")
    return PredictCall(
        request.model_name,
        _inputs(shared, request),
        actor.subject,
        time.time(),
        request.model_version,
        request.id,
        wanted,
        None if given is None else shared.event_time(given),
        {},
    )


def _inputs(shared: Shared, request: Any) -> dict[str, NDArray[Any]]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise BadInputError("serve.bad-request", f"There are {len(request.inputs)} inputs and {len(raw)} raw contents.")
    inputs: dict[str, NDArray[Any]] = {}
    for index, item in enumerate(request.inputs):
        if item.name in inputs:
            raise BadInputError("serve.bad-request", f"Input {item.name[:100]!r} is given twice.")
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


def fill(shared: Shared, answer: Answer, request: Any, response: Any) -> None:
    """Write the answer: raw where the request was raw, or where a datatype has no typed contents."""
    names = {name: datatype_of(tensor) for name, tensor in answer.outputs.items()}
    raw = bool(request.raw_input_contents) or not all(map(tensors.typed, names.values()))
    response.model_name, response.model_version, response.id = answer.model, answer.version, request.id
    for name, tensor in answer.outputs.items():
        output = response.outputs.add(name=name, datatype=names[name], shape=tensor.shape)
        if raw:
            response.raw_output_contents.append(shared.encode_raw(tensor))
        else:
            tensors.encode_contents(names[name], tensor, output.contents)
