"""The route table: one row per method and path, each with its permission. What is not in it does not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelwright.core.access import ROLES, Actor, Permission
from modelwright.core.errors import BadInputError, InternalError
from modelwright.interfaces.control.bodies import Body, BodyType, decode
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Workflow

PERMISSIONS: frozenset[Permission] = frozenset().union(*ROLES.values())


@dataclass(frozen=True, slots=True)
class Call:
    """One authorised request, read: what an endpoint is given. Endpoints run in a thread and may block."""

    platform: Platform
    workflow: Workflow
    actor: Actor
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    key: str

    def decode(self, kind: type[BodyType]) -> BodyType:
        """The body as a record."""
        return decode(self.body, kind)

    def whole(self, name: str, default: int, *, most: int) -> int:
        """A query parameter as a whole number from 0 to ``most``."""
        text = self.query.get(name, str(default))
        if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > most:
            raise BadInputError("control.bad-query", f"{name}={text[:40]!r} is not a whole number from 0 to {most}.")
        return int(text)

    def flag(self, name: str) -> bool:
        """True for ``true``, ``yes``, ``1`` or a bare ``?name``."""
        return self.query.get(name, "no").lower() in {"true", "yes", "1", ""}


@dataclass(frozen=True, slots=True)
class Answer:
    """A status other than 200 with its JSON content, or (``text``) plain text."""

    content: Any
    status: int = 200
    text: bool = False


Endpoint = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One row. ``says`` is the summary in the OpenAPI document; ``body`` the record of a POST's JSON."""

    method: str
    path: str
    permission: Permission | None
    endpoint: Endpoint
    says: str
    body: type[Body] | None = None


def checked(rows: Iterable[RouteRow]) -> tuple[RouteRow, ...]:
    """The rows, when each has a permission and none is there twice.

    Raises:
        InternalError: ``control.open-route``; the server must not start.
    """
    table = tuple(rows)
    for row in table:
        if row.permission not in PERMISSIONS:
            raise InternalError("control.open-route", f"Route {row.method} {row.path} has no permission.")
    seen = {(row.method, row.path) for row in table}
    if len(seen) != len(table):
        raise InternalError("control.open-route", "A route is in the table twice.")
    return table
