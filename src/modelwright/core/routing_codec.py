"""The routing table as bytes: what the control process publishes and every gateway reads."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from modelwright.core.errors import CorruptError
from modelwright.core.package import canonical_json
from modelwright.core.trust import TrustedKey
from modelwright.core.version import Arm, Route, RoutingTable, SignatureRef, TokenGrant

FORMAT = "modelwright-routing"
FORMAT_VERSION = 1


def encode(table: RoutingTable) -> bytes:
    """Canonical JSON of the table."""
    return canonical_json({"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(table)})


def decode(content: bytes) -> RoutingTable:
    """The table from its bytes.

    Raises:
        CorruptError: ``deploy.routing-corrupt`` when the bytes are not a routing table this release reads.
    """
    try:
        body = json.loads(content)
        _expect((body["format"], body["format_version"]), (FORMAT, FORMAT_VERSION))
        return RoutingTable(
            epoch=int(body["epoch"]),
            routes={str(model): _route(route) for model, route in body["routes"].items()},
            tokens=tuple(TokenGrant(**grant) for grant in body["tokens"]),
            authenticate=_flag(body["authenticate"]),
            # an earlier release wrote neither
            trusted=tuple(TrustedKey(**key | {"models": tuple(key["models"])}) for key in body.get("trusted", ())),
            signatures=tuple(SignatureRef(**signature) for signature in body.get("signatures", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptError(
            "deploy.routing-corrupt",
            "The routing table cannot be read.",
            why=f"{type(error).__name__}: {error}",
            fix="Publish it again: restart `modelwright serve`.",
        ) from error


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise ValueError(f"{found} where {expected} is read")


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("authenticate is neither true nor false")
    return value


def _route(body: dict[str, Any]) -> Route:
    return Route(
        model=body["model"],
        arms=tuple(Arm(**arm) for arm in body["arms"]),
        shadows=tuple(Arm(**arm) for arm in body["shadows"]),
        signed=tuple(body.get("signed", ())),
    )
