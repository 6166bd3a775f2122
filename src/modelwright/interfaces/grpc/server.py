"""The gRPC server: translate, call the plane, flush the log, translate back."""

from __future__ import annotations

import logging
import string
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc
import grpc.aio
from numpy.typing import NDArray

from modelwright.core.about import __version__
from modelwright.core.access import Actor, Permission
from modelwright.core.errors import BadInputError, InternalError, ModelwrightError, UnavailableError
from modelwright.core.signature import DATATYPES, TensorSpec
from modelwright.interfaces.grpc import tensors
from modelwright.interfaces.grpc.messages import SERVICE, message
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.plane import Plane
from modelwright.serve.route import LiveArm
from modelwright.serve.validate import datatype_of

_logger = logging.getLogger(__name__)
PLATFORM = "onnx_onnxv1"
EXTENSIONS = ("parameters",)
_STATUS = {
    "bad-input": grpc.StatusCode.INVALID_ARGUMENT,
    "not-found": grpc.StatusCode.NOT_FOUND,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "too-large": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "conflict": grpc.StatusCode.ABORTED,
    "refused": grpc.StatusCode.FAILED_PRECONDITION,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "deadline": grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class Shared:
    """What this interface shares with the other one, handed in by the process that runs both.

    ``admit(authorization, permission, now)`` gives the actor; ``ready`` says whether every model is loaded;
    ``flush`` writes the log (promise D2) and ``log_required`` refuses answers when it cannot; ``decode_raw(name,
    datatype, shape, data)`` and ``encode_raw(tensor)`` are the binary extension's; ``event_time`` reads the parameter.
    """

    plane: Plane
    admit: Callable[[bytes | None, Permission, float], Actor]
    ready: Callable[[], bool]
    flush: Callable[[], bool]
    log_required: bool
    decode_raw: Callable[[str, str, list[int], memoryview], NDArray[Any]]
    encode_raw: Callable[[NDArray[Any]], bytes]
    event_time: Callable[[object], float]


class Service:
    """The six calls of the protocol. All run on the event loop's thread, the one that owns the plane."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def handler(self) -> grpc.GenericRpcHandler:
        """The service as gRPC wants it."""
        calls: dict[str, tuple[Permission | None, Callable[[Any, Any, Actor | None], Any]]] = {
            "ServerLive": (None, lambda _request, _context, _actor: message("ServerLiveResponse")(live=True)),
            "ServerReady": (None, self._server_ready),
            "ModelReady": (None, self._model_ready),
            "ServerMetadata": ("predict", self._server_metadata),
            "ModelMetadata": ("predict", self._model_metadata),
            "ModelInfer": ("predict", self._infer),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    self._guarded(permission, call),
                    request_deserializer=message(f"{name}Request").FromString,
                    response_serializer=message(f"{name}Response").SerializeToString,
                )
                for name, (permission, call) in calls.items()
            },
        )

    def _guarded(
        self, permission: Permission | None, call: Callable[[Any, Any, Actor | None], Any]
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        """Who asks, then the call; an error becomes its status, with the stable code beside it."""

        async def answer(request: Any, context: Any) -> Any:
            try:
                actor = self._actor(context, permission) if permission else None
                return call(request, context, actor)
            except ModelwrightError as failure:
                error = failure
            except Exception:
                _logger.exception("a request failed")
                error = InternalError("grpc.internal", "The request failed here.", fix="See the server's log.")
            context.set_trailing_metadata((("modelwright-error", error.code),))
            return await context.abort(_STATUS.get(error.kind, grpc.StatusCode.INTERNAL), str(error))

        return answer

    def _actor(self, context: Any, permission: Permission) -> Actor:
        found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        given = found[0] if found else None
        authorization = given.encode(errors="replace") if isinstance(given, str) else given
        return self._shared.admit(authorization, permission, time.time())

    def _server_ready(self, _request: Any, _context: Any, _actor: Actor | None) -> Any:
        return message("ServerReadyResponse")(ready=self._shared.ready())

    def _model_ready(self, request: Any, _context: Any, _actor: Actor | None) -> Any:
        if self._shared.plane.table is not None:
            self._arm(request.name, request.version)
        return message("ModelReadyResponse")(ready=self._shared.ready())

    def _server_metadata(self, _request: Any, _context: Any, _actor: Actor | None) -> Any:
        return message("ServerMetadataResponse")(name="modelwright", version=__version__, extensions=EXTENSIONS)

    def _model_metadata(self, request: Any, _context: Any, _actor: Actor | None) -> Any:
        arm = self._arm(request.name, request.version)
        signature = arm.loaded.signature
        tensor = message("ModelMetadataResponse.TensorMetadata")

        def told(specs: Iterable[TensorSpec]) -> list[Any]:
            return [tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in specs]

        return message("ModelMetadataResponse")(
            name=arm.model,
            versions=[request.version] if request.version else list(self._shared.plane.route(arm.model).by_version),
            platform=PLATFORM,
            inputs=told(signature.inputs),
            outputs=told(signature.outputs),
        )

    def _arm(self, model: str, version: str) -> LiveArm:
        route = self._shared.plane.route(model)
        return route.pinned(version) if version else route.champion

    def _infer(self, request: Any, context: Any, actor: Actor | None) -> Any:
        assert actor is not None
        plane = self._shared.plane
        self._arm(request.model_name, request.model_version)  # an unknown model is said to be so, whatever it was sent
        try:
            answer = plane.predict(self._call(request, actor))
        finally:
            written = self._shared.flush()
        if not written and self._shared.log_required:
            raise UnavailableError(
                "record.unwritable", "The prediction log cannot be written.", fix="Free disk space, then try again."
            )
        identity = quote(answer.prediction_id, safe=string.printable)  # metadata is ASCII
        context.set_trailing_metadata(
            (("modelwright-prediction-id", identity), ("modelwright-version", quote(answer.version)))
        )
        response = self._response(answer, request.id, raw=bool(request.raw_input_contents))
        if plane.run_shadows():
            self._shared.flush()
        return response

    def _call(self, request: Any, actor: Actor) -> PredictCall:
        raw = request.raw_input_contents
        if raw and len(raw) != len(request.inputs):
            raise BadInputError(
                "serve.bad-request", f"There are {len(request.inputs)} inputs and {len(raw)} raw contents."
            )
        inputs: dict[str, NDArray[Any]] = {}
        for index, item in enumerate(request.inputs):
            if item.name in inputs:
                raise BadInputError("serve.bad-request", f"Input {item.name[:100]!r} is given twice.")
            datatype, shape = ("BYTES" if item.datatype == "STRING" else item.datatype), list(item.shape)
            if not raw:
                inputs[item.name] = tensors.decode_contents(item.name, datatype, shape, item.contents)
                continue
            if item.HasField("contents"):
                raise BadInputError(
                    "serve.bad-request", f"Input {item.name[:100]!r} has both contents and raw contents."
                )
            if datatype not in DATATYPES:
                raise BadInputError(
                    "serve.unsupported-datatype", f"Input {item.name[:100]!r} has the datatype {datatype[:20]!r}."
                )
            inputs[item.name] = self._shared.decode_raw(item.name, datatype, shape, memoryview(raw[index]))
        wanted = [output.name for output in request.outputs] if request.outputs else None
        given = request.parameters.get("event_time")
        chosen = given.WhichOneof("parameter_choice") if given is not None else None
        moment = self._shared.event_time(getattr(given, chosen)) if chosen else None
        version = request.model_version
        return PredictCall(
            request.model_name, inputs, actor.subject, time.time(), version, request.id, wanted, moment, {}
        )

    def _response(self, answer: Answer, echo: str, *, raw: bool) -> Any:
        """Raw where the request was raw, or where a datatype has no typed contents."""
        names = {name: datatype_of(tensor) for name, tensor in answer.outputs.items()}
        raw = raw or not all(map(tensors.typed, names.values()))
        response = message("ModelInferResponse")(model_name=answer.model, model_version=answer.version, id=echo)
        for name, tensor in answer.outputs.items():
            output = response.outputs.add(name=name, datatype=names[name], shape=tensor.shape)
            if raw:
                response.raw_output_contents.append(self._shared.encode_raw(tensor))
            else:
                tensors.encode_contents(names[name], tensor, output.contents)
        return response


async def start(
    shared: Shared, address: str, *, max_message_bytes: int, tls: tuple[bytes, bytes, bytes | None] | None = None
) -> grpc.aio.Server:
    """Serve on ``HOST:PORT``; port 0 takes a free one.

    Args:
        shared: what answers.
        address: where.
        max_message_bytes: largest request.
        tls: PEM of the certificate chain, of its key, and of the authority whose clients are taken (None: any client).

    Raises:
        BadInputError: ``serve.port-taken``.
    """
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        )
    )
    server.add_generic_rpc_handlers((Service(shared).handler(),))
    try:
        bound = server.add_secure_port(address, _credentials(*tls)) if tls else server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise BadInputError(
            "serve.port-taken",
            f"The gRPC address {address} cannot be listened on.",
            why="Another program holds it, or it is not an address of this machine.",
            fix="Name another one with --grpc HOST:PORT.",
        )
    await server.start()
    return server


def _credentials(certificate: bytes, key: bytes, authority: bytes | None) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=authority is not None
    )
