"""The registry's rules that hold in every store: which version a reference means, and when an alias may move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from modelwright.core.errors import BadInputError, ConflictError, NotFoundError
from modelwright.core.finding import WatchReport
from modelwright.core.names import require_alias_name, suggest
from modelwright.core.version import Route, SignatureRef, Version

_LEAST_PREFIX = 8
MAX_TTL_SECONDS = 100 * 366 * 86_400.0
MIN_RATE, MAX_RATE = 1e-3, 1e6  # requests per second


def resolve(model: str, reference: str, versions: Sequence[Version], aliases: Mapping[str, str]) -> Version:
    """The version meant by a number (``3``), an alias, or a digest prefix of 8 characters or more, in this order.

    A prefix of a package that was registered more than once means its newest version.

    Raises:
        NotFoundError: ``register.unknown-version``, with a suggestion.
        BadInputError: ``register.ambiguous-version``: the prefix fits several packages.
    """
    number = aliases.get(reference, reference)
    found = [version for version in versions if version.number == number]
    if not found and len(reference) >= _LEAST_PREFIX:
        found = [version for version in versions if version.digest.startswith(reference)]
    if len({version.digest for version in found}) > 1:
        numbers = ", ".join(version.number for version in found)
        raise BadInputError(
            "register.ambiguous-version",
            f"{reference!r} fits versions {numbers} of {model}.",
            fix="Give the number, or more of the digest.",
        )
    if not found:
        raise unknown_version(model, reference, [version.number for version in versions] + list(aliases))
    return found[-1]


def require_move(
    model: str, alias: str, to_version: str, *, expected: str | None, numbers: Sequence[str], aliases: Mapping[str, str]
) -> str:
    """Check that an alias may move, and return the version it points at now (empty when there is no such alias).

    Args:
        model: an existing model.
        alias: the alias.
        to_version: number of an existing version, or empty to remove the alias.
        expected: the version it must point at now, empty for none; None demands nothing.
        numbers: the model's versions.
        aliases: the model's aliases now.

    Raises:
        BadInputError: ``register.bad-alias``.
        NotFoundError: ``register.unknown-version``, ``register.unknown-alias``.
        ConflictError: ``register.alias-moved``.
    """
    require_alias_name(alias)
    if to_version and to_version not in numbers:
        raise unknown_version(model, to_version, numbers)
    now_at = aliases.get(alias, "")
    if expected is not None and now_at != expected:
        raise ConflictError(
            "register.alias-moved",
            f"Alias {alias!r} of {model} points at {now_at or 'nothing'}, not at {expected or 'nothing'}.",
            why="Someone else moved it in the meantime.",
            fix="Look at `modelwright history` and decide again.",
            details={"expected": expected, "actual": now_at},
        )
    if not to_version and not now_at:
        raise NotFoundError(
            "register.unknown-alias", f"Model {model} has no alias {alias!r}.", fix=suggest(alias, aliases)
        )
    return now_at


def require_route(found: Route | None, expected: Route | None, model: str) -> None:
    """Check that a route is the one that a change was made from; ``expected`` None demands nothing.

    Raises:
        ConflictError: ``deploy.route-moved``.
    """
    if expected is not None and (found or Route(model, ())) != expected:
        raise ConflictError(
            "deploy.route-moved",
            f"The route of {model} is no longer the one that this change was made from.",
            why="Something else changed it in the meantime.",
            fix="Look at `modelwright status` and decide again.",
        )


def on_routes(routes: Iterable[Route], signatures: Iterable[SignatureRef]) -> tuple[SignatureRef, ...]:
    """Those of the signatures whose packages the routes name."""
    digests = {arm.digest for route in routes for arm in (*route.arms, *route.shadows)}
    return tuple(one for one in signatures if one.digest in digests)


def unknown_model(model: str, known: Iterable[str]) -> NotFoundError:
    """The error of a model that is not there."""
    return NotFoundError(
        "register.unknown-model",
        f"There is no model {model!r}.",
        fix=suggest(model, known) or "Release a first model with `modelwright release`.",
    )


def unknown_version(model: str, reference: str, known: Iterable[str]) -> NotFoundError:
    """The error of a version that is not there."""
    return NotFoundError(
        "register.unknown-version",
        f"Model {model} has no version {reference!r}.",
        fix=suggest(reference, known),
    )


def require_grant(subject: str, ttl_seconds: float, rate: float = 0.0) -> None:
    """Check what a token is issued for (its role is checked by ``core.access.require_role``).

    Raises:
        BadInputError: ``tokens.bad-subject``, ``tokens.bad-ttl``, ``tokens.bad-rate``.
    """
    if not subject:
        raise BadInputError("tokens.bad-subject", "A token needs a subject.", fix="Name whose token it is.")
    if not 0 <= ttl_seconds <= MAX_TTL_SECONDS:
        raise BadInputError(
            "tokens.bad-ttl", "A token's time to live is a number of seconds, at most a century; 0 means no end."
        )
    if rate and not MIN_RATE <= rate <= MAX_RATE:
        raise BadInputError(
            "tokens.bad-rate",
            "A token's rate is a number of requests per second.",
            fix=f"Give one between {MIN_RATE:g} and {MAX_RATE:g}, or 0 for any number.",
        )


def already_issued(subject: str) -> ConflictError:
    """The error of issuing a token again under the same idempotency key."""
    return ConflictError(
        "tokens.already-issued",
        f"This act already issued a token to {subject!r}.",
        why="A token's text is shown once and not kept.",
        fix="Revoke the subject's tokens and issue a new one.",
    )


def report_evidence(report: WatchReport) -> dict[str, object]:
    """What the ledger says of a report: its window, its size and its findings by name."""
    return {
        "version": report.version,
        "window": report.window,
        "rows": report.rows,
        "truths": report.truths,
        "findings": [
            {"kind": finding.kind, "subject": finding.subject, "severity": finding.severity}
            for finding in report.findings
        ],
    }
