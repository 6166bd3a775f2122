"""The gRPC server: what it says of itself and of its models, and its start and stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from modelwright.core.about import __version__
from modelwright.core.errors import BadInputError
from modelwright.interfaces.grpc.catalog import Catalog
from modelwright.interfaces.grpc.describe import Parse, Routes
from modelwright.interfaces.grpc.guard import Shared, Waiting, deferred, stream, unary
from modelwright.interfaces.grpc.infer import Inference
from modelwright.interfaces.grpc.messages import INFERENCE, POOL, REFLECTIONS, message
from modelwright.interfaces.grpc.standard import Health, Reflection
from modelwright.interfaces.grpc.wire import Stream, Transport, Unary

__all__ = ["Running", "Service", "Shared", "start"]
EXTENSIONS = ("classification", "model_configuration", "parameters", "statistics")
"""Those kept in full. ``model_repository`` is where a folder is served; with a registry, only its index is."""


class Service:
    """The calls of the protocol. All run on the event loop's thread, the one that owns the plane."""

    def __init__(self, shared: Shared, waiting: Waiting) -> None:
        self._shared, self._waiting = shared, waiting
        self._catalog = Catalog(shared.plane, shared.turn.repository, shared.stopping)
        self._inference = Inference(shared, waiting)

    def routes(self) -> Routes:
        """The service as the transport wants it."""
        catalog = self._catalog
        health = {"ServerLive": self._server_live, "ServerReady": self._server_ready, "ModelReady": self._model_ready}
        others = {
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": catalog.metadata,
            "ModelConfig": catalog.config,
            "ModelStatistics": catalog.statistics,
        }
        calls: dict[str, Callable[[Parse], Any]] = {n: unary(self._shared, None, call) for n, call in health.items()}
        calls |= {name: unary(self._shared, "predict", call) for name, call in others.items()}
        calls |= {
            "RepositoryIndex": unary(self._shared, "read", catalog.index),
            "RepositoryModelLoad": deferred(
                self._shared, "deploy", message("RepositoryModelLoadResponse")(), catalog.load
            ),
            "RepositoryModelUnload": deferred(
                self._shared, "deploy", message("RepositoryModelUnloadResponse")(), catalog.unload
            ),
            "ModelInfer": self._inference.unary,
            "ModelStreamInfer": stream(self._waiting, self._inference.stream),
        }
        return INFERENCE.routes(POOL, "GRPCInferenceService", calls)

    def _server_live(self, _request: Any) -> Any:
        return message("ServerLiveResponse")(live=True)

    def _server_ready(self, _request: Any) -> Any:
        return message("ServerReadyResponse")(ready=self._shared.ready("", ""))

    def _model_ready(self, request: Any) -> Any:
        if self._shared.plane.table is not None:
            self._catalog.arm(request.name, request.version)
        return message("ModelReadyResponse")(ready=self._shared.ready(request.name, request.version))

    def _server_metadata(self, _request: Any) -> Any:
        changeable = self._shared.turn.repository.changeable
        extensions = sorted((*EXTENSIONS, "model_repository") if changeable else EXTENSIONS)
        return message("ServerMetadataResponse")(name="modelwright", version=__version__, extensions=extensions)


class Running:
    """A started server."""

    def __init__(self, transport: Transport, waiting: Waiting) -> None:
        self._transport, self._waiting = transport, waiting

    async def stop(self, grace: float) -> None:
        """Take no more calls, end the streams that wait for their client, and give the others ``grace`` seconds."""
        self._waiting.close()
        await self._transport.stop(grace)


async def start(
    shared: Shared,
    address: str,
    *,
    max_message_bytes: int,
    max_streams: int,
    tls: tuple[bytes, bytes, bytes | None] | None = None,
    reuse_port: bool = False,
) -> Running:
    """Serve on ``HOST:PORT``; port 0 takes a free one.

    Args:
        shared: what answers.
        address: where.
        max_message_bytes: largest request.
        max_streams: streams that may be open at once.
        tls: PEM of the certificate chain, of its key, and of the authority whose clients are taken (None: any client).
        reuse_port: share the address with other processes of this server (SO_REUSEPORT).

    Raises:
        BadInputError: ``serve.port-taken``.
    """
    waiting = Waiting(max_streams)
    unary_calls: dict[bytes, Unary] = {}
    streams: dict[bytes, Stream] = {}
    services = [Service(shared, waiting).routes(), Health(shared, waiting).routes()]
    for answered_at_once, streamed in [*services, *(Reflection(file, waiting).routes() for file in REFLECTIONS)]:
        unary_calls |= answered_at_once
        streams |= streamed
    options = (
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", int(reuse_port)),
    )
    transport = Transport(unary_calls, streams, options)
    if not transport.bind(address, _credentials(*tls) if tls else None):
        raise BadInputError(
            "serve.port-taken",
            f"The gRPC address {address} cannot be listened on.",
            why="Another program holds it, or it is not an address of this machine.",
            fix="Name another one with --grpc HOST:PORT.",
        )
    transport.start()
    return Running(transport, waiting)


def _credentials(certificate: bytes, key: bytes, authority: bytes | None) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=authority is not None
    )
