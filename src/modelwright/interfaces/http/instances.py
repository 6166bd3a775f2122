"""KServe V1 request bodies, ``{"instances"}`` or ``{"inputs"}``, to a call of the plane, and its answer to V1's body.

The protocol: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol; the columns under
``inputs`` are TensorFlow Serving's: https://www.tensorflow.org/tfx/serving/api_rest.
"""

from __future__ import annotations

import msgspec

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature
from modelwright.interfaces.http import infer, rows
from modelwright.serve.call import Answer, PredictCall


class InstancesRequest(msgspec.Struct, gc=False):
    """The JSON of a V1 request; what else it holds (``signature_name``) is ignored."""

    instances: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw = msgspec.Raw(b"")


_decoder = msgspec.json.Decoder(InstancesRequest)


def decode(
    model: str, version: str, signature: Signature, body: bytes, *, actor: str, received_at: float
) -> tuple[PredictCall, bool]:
    """The call, and whether it came by columns: its answer goes back in the same way.

    Raises:
        BadInputError: ``serve.bad-json``, ``serve.bad-request`` and everything of :mod:`.rows`.
    """
    request = infer.parse(_decoder, body)
    call = PredictCall(model, {}, actor, received_at, version, finite=True)
    by_rows, by_columns = request.instances is not msgspec.UNSET, bool(request.inputs)
    if by_rows == by_columns:
        raise BadInputError("serve.bad-request", 'The body holds one of "instances" (rows) and "inputs" (columns).')
    if request.instances is msgspec.UNSET:
        rows.take_columns(call, signature, request.inputs)
    else:
        rows.take_instances(call, signature, request.instances)
    return call, by_columns


def encode(answer: Answer, *, by_columns: bool = False) -> bytes:
    """``{"predictions"}`` with one per row, or ``{"outputs"}``: the only output, or an object of them by name.

    Raises:
        BadInputError: ``serve.not-json``: NaN or infinity.
    """
    if not by_columns:
        return msgspec.json.encode({"predictions": rows.predictions(answer)})
    outputs = rows.columns(answer)
    return msgspec.json.encode({"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs})
