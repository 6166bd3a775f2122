"""One row of the table of routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelwright.core.access import Permission
from modelwright.core.errors import ModelwrightError
from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.message import Asked, AskedAll, AskedStream, Later, Reply, Request, error_reply

Endpoint = Callable[[Context, Request], Reply | Asked | AskedAll | AskedStream | Later]


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """``permission`` None = open to everyone.

    ``timed`` routes count under a model's latency; ``long`` ones take a long body where it was received; ``counted``
    ones (predictions are) use up the rate of a token. ``errors`` gives an error the shape of the route's dialect.
    """

    method: bytes
    pattern: str
    permission: Permission | None
    endpoint: Endpoint
    timed: bool = False
    long: bool = False
    counted: bool = False
    errors: Callable[[ModelwrightError], Reply] = error_reply
