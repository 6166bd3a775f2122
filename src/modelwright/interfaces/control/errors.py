"""Error kind to HTTP status: the one place that knows both."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from modelwright.core.errors import ModelwrightError
from modelwright.core.statuses import HTTP_STATUS


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Any value msgspec can encode, records included."""
    return Response(msgspec.json.encode(content), status, headers=headers, media_type="application/json")


def error_response(error: ModelwrightError) -> Response:
    """``{"error": {"code", "kind", "what", "why"?, "fix"?, "details"?}}`` with the kind's status."""
    headers = {}
    if error.kind == "unauthenticated":
        headers["www-authenticate"] = 'Bearer realm="modelwright"'
    if error.kind == "unavailable":
        headers["retry-after"] = "1"
    return json_response({"error": error.to_json()}, HTTP_STATUS[error.kind], headers)
