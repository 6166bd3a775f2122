"""Who is asking: bearer tokens against the hashes of the routing table."""

from __future__ import annotations

import hashlib

from modelwright.core.access import Actor, Permission
from modelwright.core.errors import ModelwrightError, UnauthenticatedError, UnavailableError
from modelwright.core.version import RoutingTable
from modelwright.govern.policy import require

_SEEN = 1024  # accepted headers whose hash need not be taken again
ANONYMOUS = Actor("anonymous", "admin")

Grants = dict[str, tuple[Actor, float]]
"""Actor and expiry by the SHA-256 of a token."""


class Gate:
    """Closed until a table opens it: before that nobody's token is known to be wrong, so nobody is told it is."""

    def __init__(self) -> None:
        self._grants: Grants | None = None
        self._authenticate = True
        self._seen: dict[bytes, tuple[Actor, float]] = {}

    def renew(self, table: RoutingTable) -> None:
        """Take the tokens of a newly published table."""
        self._authenticate = table.authenticate
        self._seen = {}
        self._grants = {
            grant.token_sha256: (Actor(grant.subject, grant.role), grant.expires_at) for grant in table.tokens
        }

    def admit(self, authorization: bytes | None, permission: Permission, now: float) -> Actor:
        """The actor behind an ``Authorization`` header, if the permission is theirs.

        Raises:
            UnavailableError: ``http.not-ready``: no table is in force yet.
            UnauthenticatedError: ``http.no-token``, ``http.unknown-token``.
            ForbiddenError: ``govern.forbidden``.
        """
        if self._grants is None:
            raise not_ready()
        actor = self._actor(authorization, self._grants, now) if self._authenticate else ANONYMOUS
        require(actor, permission)
        return actor

    def may(self, authorization: bytes | None, permission: Permission, now: float) -> bool:
        """Whether whoever asks has a permission."""
        try:
            self.admit(authorization, permission, now)
        except ModelwrightError:
            return False
        return True

    def _actor(self, authorization: bytes | None, grants: Grants, now: float) -> Actor:
        if authorization is None:
            raise UnauthenticatedError(
                "http.no-token", "A token is needed.", fix="Send the header `Authorization: Bearer mw_...`."
            )
        found = self._seen.get(authorization) or self._look_up(authorization, grants)
        if found is None or 0 < found[1] <= now:
            raise UnauthenticatedError(
                "http.unknown-token",
                "The token is unknown, revoked or expired.",
                fix="Issue a new one: `modelwright token issue`.",
            )
        return found[0]

    def _look_up(self, authorization: bytes, grants: Grants) -> tuple[Actor, float] | None:
        scheme, _, token = authorization.strip().partition(b" ")  # gRPC leaves spaces around a value as they came
        if scheme.lower() != b"bearer":
            return None
        found = grants.get(hashlib.sha256(token.strip()).hexdigest())
        if found is not None and len(self._seen) < _SEEN:
            self._seen[authorization] = found
        return found


def not_ready() -> UnavailableError:
    """The error while no routing table is in force."""
    return UnavailableError("http.not-ready", "The server is starting.", fix="Try again in a second.")
