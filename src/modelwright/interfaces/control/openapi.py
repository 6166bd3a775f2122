"""The OpenAPI document, generated from the route table, so that it cannot lag behind it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from modelwright.core.about import __version__
from modelwright.interfaces.control.bodies import Body
from modelwright.interfaces.control.routes import RouteRow

_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "kind", "what"],
            "properties": {
                **{name: {"type": "string"} for name in ("code", "kind", "what", "why", "fix")},
                "details": {"type": "object"},
            },
        }
    },
}


def _parameters(row: RouteRow) -> list[dict[str, Any]]:
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", row.path)
    ]
    if row.method != "GET":
        named.append({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 128}})
    return named


def _operation(row: RouteRow) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": row.endpoint.__name__,
        "summary": row.says,
        "description": f"{(row.endpoint.__doc__ or '').strip()} Needs permission `{row.permission}`.",
        "parameters": _parameters(row),
        "responses": {
            "2XX": {"description": "Done, or (202) taken"},
            "default": {
                "description": "An error",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if row.body is not None:
        schema = {"$ref": f"#/components/schemas/{row.body.__name__}"}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation


def document(rows: Iterable[RouteRow]) -> dict[str, Any]:
    """OpenAPI 3.1 of the table."""
    table = tuple(rows)
    kinds: set[type[Body]] = {row.body for row in table if row.body is not None}
    _, schemas = msgspec.json.schema_components(
        sorted(kinds, key=lambda kind: kind.__name__), ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for row in table:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {"title": "modelwright control plane", "version": __version__},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**schemas, "Error": _ERROR},
        },
    }
