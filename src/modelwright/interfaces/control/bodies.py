"""What the API's POST bodies hold. An unknown field is an error, so that a typing mistake is never ignored."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec

from modelwright.core.errors import BadInputError
from modelwright.core.native import Isolation

Text = Annotated[str, msgspec.Meta(max_length=2000)]
# Python's `$` also matches before a line feed at the end.
Reference = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$(?!\n)")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Moment = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]  # Unix seconds to the end of the year 9999

BodyType = TypeVar("BodyType", bound="Body")


class Body(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Base of every body."""


class Period(Body, frozen=True):
    """A window of event time in Unix seconds, half open; an end left out is open."""

    since: Moment | None = None
    until: Moment | None = None

    def __post_init__(self) -> None:
        """Refuse a window that ends before it begins."""
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("`since` must be before `until`")


class Renew(Period, frozen=True):
    """Why, and which window of event time (Unix seconds) to train on; left out: what the recipe takes by itself.

    ``route`` and ``isolation`` say how the candidate is to run; left out: as the champion does.
    """

    reason: Text = ""
    cause: Literal["manual"] = "manual"
    route: Literal["auto", "onnx", "native"] | None = None
    isolation: Isolation | None = None


class Promote(Body, frozen=True):
    """Which version (number, alias or digest prefix) becomes the champion, and why."""

    version: Reference
    reason: Text = ""


class Rollback(Body, frozen=True):
    """Which version to go back to (left out: the champion before this one), and why."""

    to: Reference | None = None
    reason: Text = ""


class Shadow(Body, frozen=True):
    """Which version sees the same requests without answering; left out takes the shadow away."""

    version: Reference | None = None
    reason: Text = ""


class Watch(Period, frozen=True):
    """The window of event time in Unix seconds, half open; left out: everything recorded."""

    reason: Text = ""


class NewToken(Body, frozen=True):
    """Whose token, which role, for how many seconds (0 = until revoked), and how many requests a second (0 = any)."""

    subject: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$(?!\n)")]
    role: Annotated[str, msgspec.Meta(max_length=32)]
    ttl_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    rate: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    reason: Text = ""


def decode(body: bytes, kind: type[BodyType]) -> BodyType:
    """A body from JSON; an empty body is an empty object.

    Raises:
        BadInputError: ``control.bad-body``: not JSON, a wrong type, an unknown or a missing field.
    """
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        fields = ", ".join(kind.__struct_fields__)
        raise BadInputError(
            "control.bad-body", f"The body cannot be used: {error}.", fix=f"Send a JSON object with: {fields}."
        ) from error
