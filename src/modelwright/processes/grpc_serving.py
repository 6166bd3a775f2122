"""gRPC beside HTTP: the second interface over the same plane, log and tokens."""

from __future__ import annotations

import logging
from typing import Any

from modelwright.core.errors import UnavailableError
from modelwright.interfaces.http import infer, tensors
from modelwright.interfaces.http.server import DataPlane
from modelwright.processes import tls
from modelwright.processes.gateway_options import GatewayOptions
from modelwright.processes.listening import listen, spoken
from modelwright.serve.observe import Observer
from modelwright.settings import Settings

_logger = logging.getLogger("modelwright.gateway")


async def start(options: GatewayOptions, settings: Settings, server: DataPlane, observer: Observer | None) -> Any:
    """Serve on the address of the options; what comes back has ``stop(seconds)``.

    Raises:
        UnavailableError: ``plugins.missing-extra``; as :func:`listen`.
        BadInputError: ``serve.port-taken``; as :func:`listen`.
        RefusedError, ConflictError: as :func:`listen`.
    """
    # lazy: an extra
    try:
        from modelwright.interfaces.grpc.server import Shared
        from modelwright.interfaces.grpc.server import start as start_server
    except ImportError as error:
        raise UnavailableError(
            "plugins.missing-extra", f"{error.name} is not installed.", fix="pip install 'modelwright[grpc]'"
        ) from error
    address = options.grpc
    if not options.supervised:  # gRPC binds by itself: what is wrong with the address is said before
        anywhere = options.insecure or bool(settings.tls_certificate)
        with listen(address, name="grpc", insecure=anywhere) as probe:
            address = spoken(probe)
    shared = Shared(
        server.turn,
        server.gate.admit,
        server.ready,
        server.stopping,
        settings.log_required,
        tensors.decode_binary,
        tensors.encode_binary,
        infer.event_time,
        settings.request_seconds,
        server.metrics.observe,
        server.metrics.count_error,
        observer,
        settings.stream_seconds,
    )
    running = await start_server(
        shared,
        address,
        max_message_bytes=settings.max_body_bytes,
        max_streams=settings.max_connections,
        tls=tls.pem_of(settings),
        reuse_port=options.supervised,
    )
    _logger.info("grpc", extra={"grpc": address})
    return running
