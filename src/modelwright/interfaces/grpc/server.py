"""The gRPC server: translate, call the plane, flush the log, translate back."""

from __future__ import annotations

import string
from collections.abc import AsyncIterator, Iterable
from typing import Any, NoReturn
from urllib.parse import quote

import grpc
import grpc.aio

from modelwright.core.about import __version__
from modelwright.core.access import Actor
from modelwright.core.errors import BadInputError, RefusedError, UnavailableError
from modelwright.core.signature import TensorSpec
from modelwright.interfaces.grpc.guard import Shared, Waiting, actor_of, in_time, stream, told, unary
from modelwright.interfaces.grpc.messages import INFERENCE, POOL, REFLECTIONS, message
from modelwright.interfaces.grpc.standard import Health, Reflection
from modelwright.interfaces.grpc.translate import fill, parameter, to_call
from modelwright.serve.call import Answer
from modelwright.serve.route import LiveArm

__all__ = ["Running", "Service", "Shared", "start"]
PLATFORM = "onnx_onnxv1"
EXTENSIONS = ("parameters",)


class Service:
    """The calls of the protocol. All run on the event loop's thread, the one that owns the plane."""

    def __init__(self, shared: Shared, waiting: Waiting) -> None:
        self._shared, self._waiting = shared, waiting

    def handler(self) -> grpc.GenericRpcHandler:
        """The service as gRPC wants it."""
        health = {"ServerLive": self._server_live, "ServerReady": self._server_ready, "ModelReady": self._model_ready}
        others = {
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._no_load,
            "RepositoryModelUnload": self._no_load,
        }
        calls = {name: unary(self._shared, None, call) for name, call in health.items()}
        calls |= {name: unary(self._shared, "predict", call) for name, call in others.items()}
        return INFERENCE.handler(
            POOL, "GRPCInferenceService", {**calls, "ModelStreamInfer": stream(self._stream_infer)}
        )

    def _server_live(self, _request: Any, _context: Any, _actor: Actor | None) -> Any:
        return message("ServerLiveResponse")(live=True)

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

    def _index(self, _request: Any, _context: Any, _actor: Actor | None) -> Any:
        """Every loaded version. All of them are ready, so ``ready`` (only the ready ones) leaves none out."""
        response = message("RepositoryIndexResponse")()
        for model, route in self._shared.plane.routes.items():
            for version in route.by_version:
                response.models.add(name=model, version=version, state="READY")
        return response

    def _no_load(self, request: Any, _context: Any, _actor: Actor | None) -> NoReturn:
        raise RefusedError(
            "grpc.no-load",
            f"Model {request.model_name[:100]!r} is neither loaded nor unloaded over this call.",
            why="The registry decides what is served, and keeps on record who changed it and why.",
            fix="Use `modelwright release`, `promote` or `rollback`.",
        )

    def _arm(self, model: str, version: str) -> LiveArm:
        route = self._shared.plane.route(model)
        return route.pinned(version) if version else route.champion

    def _infer(self, request: Any, context: Any, actor: Actor | None) -> Any:
        assert actor is not None
        answer = self._predict(request, actor)
        identity = quote(answer.prediction_id, safe=string.printable)  # metadata is ASCII
        context.set_trailing_metadata(
            (("modelwright-prediction-id", identity), ("modelwright-version", quote(answer.version)))
        )
        response = message("ModelInferResponse")()
        fill(self._shared, answer, request, response)
        self._run_shadows()
        return response

    async def _stream_infer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Answer in the order of the requests; who may not ask, or has no time left, ends the whole stream."""
        actor_of(self._shared, context, "predict")  # before the first request: a stranger holds no stream open
        async for request in self._waiting.each(requests):
            in_time(context)
            yield self._streamed(request, actor_of(self._shared, context, "predict"))
            self._run_shadows()
        if self._waiting.closing:
            raise UnavailableError("grpc.stopping", "The server stops.", fix="Open the stream again elsewhere.")

    def _streamed(self, request: Any, actor: Actor) -> Any:
        """One answer of a stream: what a unary call says in trailing metadata stands in its parameters."""
        response = message("ModelStreamInferResponse")()
        inner = response.infer_response
        try:
            answer = self._predict(request, actor)
            fill(self._shared, answer, request, inner)
            inner.parameters["modelwright-prediction-id"].string_param = answer.prediction_id
        except Exception as failure:  # noqa: BLE001 - one request failed, not the stream; the caller is told
            error = told(failure)
            inner.Clear()
            response.error_message = str(error)
            inner.id, inner.model_name = request.id, request.model_name
            inner.parameters["modelwright-error"].string_param = error.code
        if parameter(request, "triton_enable_empty_final_response") is True:
            inner.parameters["triton_final_response"].bool_param = True  # one answer for each request: it is the last
        return response

    def _predict(self, request: Any, actor: Actor) -> Answer:
        """Predict, and write the record before anybody hears of it (promise D2)."""
        self._arm(request.model_name, request.model_version)  # an unknown model is said to be so, whatever it was sent
        try:
            answer = self._shared.plane.predict(to_call(self._shared, request, actor))
        finally:
            written = self._shared.flush()
        if not written and self._shared.log_required:
            raise UnavailableError(
                "record.unwritable", "The prediction log cannot be written.", fix="Free disk space, then try again."
            )
        return answer

    def _run_shadows(self) -> None:
        if self._shared.plane.run_shadows():
            self._shared.flush()


class Running:
    """A started server."""

    def __init__(self, server: grpc.aio.Server, waiting: Waiting) -> None:
        self._server, self._waiting = server, waiting

    async def stop(self, grace: float) -> None:
        """Take no more calls, end the streams that wait for their client, and give the others ``grace`` seconds."""
        self._waiting.close()
        await self._server.stop(grace)


async def start(
    shared: Shared, address: str, *, max_message_bytes: int, tls: tuple[bytes, bytes, bytes | None] | None = None
) -> Running:
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
    waiting = Waiting()
    handlers = [Service(shared, waiting).handler(), Health(shared, waiting).handler()]
    handlers += [Reflection(file, waiting).handler() for file in REFLECTIONS]
    server.add_generic_rpc_handlers(tuple(handlers))
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
    return Running(server, waiting)


def _credentials(certificate: bytes, key: bytes, authority: bytes | None) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=authority is not None
    )
