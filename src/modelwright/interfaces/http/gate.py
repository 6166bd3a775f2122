"""Who is asking, and whether they may: bearer tokens against the hashes and rates of the routing table."""

from __future__ import annotations

import hashlib
import math
import time

from modelwright.core.access import Actor, Permission
from modelwright.core.errors import ModelwrightError, ThrottledError, UnauthenticatedError, UnavailableError
from modelwright.core.version import RoutingTable, TokenGrant
from modelwright.govern.policy import require
from modelwright.ports.quota import Quota

_SEEN = 1024  # accepted headers whose hash need not be taken again
ANONYMOUS, STRANGER = Actor("anonymous", "admin"), Actor("stranger", "predictor")

Grants = dict[str, tuple[Actor, TokenGrant]]
"""By the SHA-256 of a token."""


class Gate:
    """Closed until a table opens it: before that nobody's token is known to be wrong, so nobody is told it is.

    Args:
        quota: counts the predictions and truths of tokens that have a rate.
        open_predictions: who shows no token may predict.
    """

    def __init__(self, quota: Quota, *, open_predictions: bool = False) -> None:
        self._quota, self._open_predictions = quota, open_predictions
        self._grants: Grants | None = None
        self._authenticate = True
        self._seen: dict[bytes, tuple[Actor, TokenGrant]] = {}

    def renew(self, table: RoutingTable) -> None:
        """Take the tokens of a newly published table."""
        self._authenticate = table.authenticate
        self._seen = {}
        self._grants = {grant.token_sha256: (Actor(grant.subject, grant.role), grant) for grant in table.tokens}

    def admit(self, authorization: bytes | None, permission: Permission, now: float, *, counted: bool = False) -> Actor:
        """The actor behind an ``Authorization`` header, if the permission is theirs.

        Args:
            authorization: the header's value.
            permission: what is asked for.
            now: Unix seconds.
            counted: this is a use that the token's rate allows so many of.

        Raises:
            UnavailableError: ``http.not-ready``: no table is in force yet.
            UnauthenticatedError: ``http.no-token``, ``http.unknown-token``.
            ForbiddenError: ``govern.forbidden``.
            ThrottledError: ``govern.rate-exceeded``.
        """
        if self._grants is None:
            raise not_ready()
        if not self._authenticate:
            return ANONYMOUS
        if authorization is None and permission == "predict" and self._open_predictions:
            return STRANGER
        actor, grant = self._known(authorization, self._grants, now)
        require(actor, permission)
        if counted and grant.rate:
            self._count(grant)
        return actor

    def may(self, authorization: bytes | None, permission: Permission, now: float) -> bool:
        """Whether whoever asks has a permission."""
        try:
            self.admit(authorization, permission, now)
        except ModelwrightError:
            return False
        return True

    def _count(self, grant: TokenGrant) -> None:
        wait = self._quota.take(grant.token_sha256, grant.rate, time.monotonic())
        if wait:
            raise ThrottledError(
                "govern.rate-exceeded",
                f"This token is good for {grant.rate:g} requests a second.",
                why=f"There is room for the next one in {wait:.2g} s.",
                fix="Send several rows in a request, or ask for a token with a higher rate.",
                details={"retry_after": max(1, math.ceil(wait))},
            )

    def _known(self, authorization: bytes | None, grants: Grants, now: float) -> tuple[Actor, TokenGrant]:
        if authorization is None:
            raise UnauthenticatedError(
                "http.no-token", "A token is needed.", fix="Send the header `Authorization: Bearer mw_...`."
            )
        found = self._seen.get(authorization) or self._look_up(authorization, grants)
        if found is None or 0 < found[1].expires_at <= now:
            raise UnauthenticatedError(
                "http.unknown-token",
                "The token is unknown, revoked or expired.",
                fix="Issue a new one: `modelwright token issue`.",
            )
        return found

    def _look_up(self, authorization: bytes, grants: Grants) -> tuple[Actor, TokenGrant] | None:
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
