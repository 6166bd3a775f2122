"""Errors that say what happened, why, and what to do next.

An error knows its *kind* (what an interface maps to a status or an exit code) and a stable *code*
(what a script may match on). It knows nothing of HTTP, gRPC or a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class ModelwrightError(Exception):
    """Base of every error a user may see.

    Args:
        code: stable, dotted, e.g. ``pack.parity-failed``; listed in ``docs/reference/errors.md``.
        what: one sentence: what happened.
        why: one sentence: why.
        fix: one sentence: what to do next.
        details: JSON-able figures for machines.
    """

    kind: ClassVar[str] = "internal"

    def __init__(
        self, code: str, what: str, *, why: str = "", fix: str = "", details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(what)
        self.code, self.what, self.why, self.fix = code, what, why, fix
        self.details = dict(details or {})

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.fix) if part)

    def to_json(self) -> dict[str, object]:
        """The one error shape of every machine-readable answer outside a foreign dialect."""
        body: dict[str, object] = {"code": self.code, "kind": self.kind, "what": self.what}
        body.update({key: value for key, value in (("why", self.why), ("fix", self.fix)) if value})
        return body | ({"details": self.details} if self.details else {})


class InternalError(ModelwrightError):
    """Our own mistake."""


class BadInputError(ModelwrightError):
    """The caller gave something that cannot be used."""

    kind = "bad-input"


class NotFoundError(ModelwrightError):
    """A named thing does not exist."""

    kind = "not-found"


class ConflictError(ModelwrightError):
    """The state moved on, or the name is taken."""

    kind = "conflict"


class RefusedError(ModelwrightError):
    """A gate, a certificate or a policy said no."""

    kind = "refused"


class UnauthenticatedError(ModelwrightError):
    """No valid token."""

    kind = "unauthenticated"


class ForbiddenError(ModelwrightError):
    """A valid token without the permission."""

    kind = "forbidden"


class TooLargeError(ModelwrightError):
    """Over a stated limit."""

    kind = "too-large"


class UnavailableError(ModelwrightError):
    """Not now: not ready, overloaded, or a needed part is down."""

    kind = "unavailable"


class ThrottledError(ModelwrightError):
    """This caller asks for more than their share."""

    kind = "throttled"


class DeadlineError(ModelwrightError):
    """The time allowed ran out."""

    kind = "deadline"


class CorruptError(ModelwrightError):
    """Stored bytes do not match their digest."""

    kind = "corrupt"


def from_json(body: Mapping[str, object]) -> ModelwrightError:
    """The error that :meth:`ModelwrightError.to_json` wrote: same kind, code and words (an unknown kind: internal)."""
    kinds = {kind.kind: kind for kind in ModelwrightError.__subclasses__()}
    error = kinds.get(str(body.get("kind")), InternalError)
    details = body.get("details")
    return error(
        str(body.get("code", "internal")),
        str(body.get("what", "")),
        why=str(body.get("why", "")),
        fix=str(body.get("fix", "")),
        details=details if isinstance(details, Mapping) else None,
    )
