"""The two services that every gRPC tool looks for: health checking and server reflection. Neither asks for a token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc

from modelwright.core.errors import NotFoundError
from modelwright.interfaces.grpc.describe import File, Parse, Routes
from modelwright.interfaces.grpc.guard import Shared, Waiting, read, stream, unary
from modelwright.interfaces.grpc.messages import HEALTH, INFERENCE, POOL, REFLECTIONS, SERVICE
from modelwright.interfaces.grpc.wire import Call

WATCH_SECONDS = 0.2
_SERVICES = [f"{file.package}.{service}" for file in (INFERENCE, HEALTH, *REFLECTIONS) for service in file.services]


class Health:
    """``grpc.health.v1.Health``: serving means ready, for the server as a whole and for the inference service."""

    def __init__(self, shared: Shared, waiting: Waiting) -> None:
        self._shared, self._waiting = shared, waiting
        self._response = HEALTH.message(POOL, "HealthCheckResponse")

    def routes(self) -> Routes:
        """The service as the transport wants it."""
        return HEALTH.routes(
            POOL,
            "Health",
            {"Check": unary(self._shared, None, self._check), "Watch": stream(self._waiting, self._watch)},
        )

    def _check(self, request: Any) -> Any:
        if request.service not in {"", SERVICE}:
            raise NotFoundError(
                "grpc.unknown-service",
                f"There is no health of {request.service[:100]!r} here.",
                fix=f"Ask for {SERVICE} or for nothing.",
            )
        return self._response(status=self._now(request.service))

    async def _watch(self, parse: Parse, call: Call) -> AsyncGenerator[Any, None]:
        request = read(parse, await call.read() or b"")
        told = None
        while True:
            closing = self._waiting.closing  # looked at first: a stop that comes while an answer is written is told too
            now = self._now(request.service)
            if now != told:
                told = now
                yield self._response(status=now)
            if closing:
                return
            await self._waiting.until(asyncio.sleep(WATCH_SECONDS))

    def _now(self, service: str) -> str:
        if service not in {"", SERVICE}:
            return "SERVICE_UNKNOWN"
        return "SERVING" if self._shared.ready("", "") and not self._waiting.closing else "NOT_SERVING"


class Reflection:
    """One version of ``grpc.reflection.*.ServerReflection``; the files have no imports, so one file is the answer."""

    def __init__(self, file: File, waiting: Waiting) -> None:
        self._file, self._waiting = file, waiting
        self._response = file.message(POOL, "ServerReflectionResponse")

    def routes(self) -> Routes:
        """The service as the transport wants it."""
        return self._file.routes(POOL, "ServerReflection", {"ServerReflectionInfo": stream(self._waiting, self._info)})

    async def _info(self, parse: Parse, call: Call) -> AsyncGenerator[Any, None]:
        async for request in self._waiting.each(parse, call):
            response = self._response(valid_host=request.host, original_request=request)
            self._answer(request, response)
            yield response

    def _answer(self, request: Any, response: Any) -> None:
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            for name in _SERVICES:
                response.list_services_response.service.add(name=name)
            return
        find = {"file_by_filename": POOL.FindFileByName, "file_containing_symbol": POOL.FindFileContainingSymbol}
        if asked not in find:
            code, _ = grpc.StatusCode.UNIMPLEMENTED.value
            response.error_response.error_code = code
            response.error_response.error_message = "Here are services, symbols and files; extensions are not used."
            return
        try:
            found = find[asked](getattr(request, asked))
        except KeyError:
            code, _ = grpc.StatusCode.NOT_FOUND.value
            response.error_response.error_code = code
            response.error_response.error_message = f"There is no {getattr(request, asked)[:100]!r} here."
        else:
            response.file_descriptor_response.file_descriptor_proto.append(found.serialized_pb)
