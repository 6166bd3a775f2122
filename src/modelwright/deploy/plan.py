"""Routes as values: each function gives the route that shall be in force; nothing is published here."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core.errors import BadInputError, ConflictError
from modelwright.core.version import Arm, Role, Route, Version


def _arm(version: Version, weight: float, role: Role) -> Arm:
    return Arm(version.number, version.digest, weight, role)


def _shadows(model: str, shadows: Sequence[Version]) -> tuple[Arm, ...]:
    """Weight-0 arms; one may be the version that answers, which then measures the service against itself."""
    for shadow in shadows:
        _same_model(model, shadow.model)
    return tuple(_arm(shadow, 0.0, "shadow") for shadow in {shadow.number: shadow for shadow in shadows}.values())


def _same_model(model: str, other: str) -> None:
    if model != other:
        raise BadInputError(
            "deploy.other-model",
            f"A route of {model!r} cannot hold a version of {other!r}.",
            fix="Deploy each model under its own name.",
        )


def all_at_once(version: Version, shadows: Sequence[Version] = ()) -> Route:
    """Every request to one version.

    Raises:
        BadInputError: ``deploy.other-model`` when a shadow belongs to another model.
    """
    return Route(version.model, (_arm(version, 1.0, "champion"),), _shadows(version.model, shadows))


def canary(champion: Version, candidate: Version, weight: float, shadows: Sequence[Version] = ()) -> Route:
    """A share ``weight`` of the requests to the candidate, the rest to the champion.

    Raises:
        BadInputError: ``deploy.bad-weight`` unless 0 < weight < 1, ``deploy.same-version``, ``deploy.other-model``.
    """
    _same_model(champion.model, candidate.model)
    if not 0 < weight < 1:  # also refuses NaN
        raise BadInputError(
            "deploy.bad-weight",
            f"{weight} is no share for a canary.",
            why="Both the champion and the canary must get requests.",
            fix="Give a weight above 0 and below 1, for example 0.1; deploy all at once to give it everything.",
        )
    if champion.number == candidate.number:
        raise BadInputError(
            "deploy.same-version",
            f"Version {champion.number} of {champion.model!r} is the champion already.",
            fix="Give another version, or deploy this one as a shadow to compare it with itself.",
        )
    arms = (_arm(champion, 1.0 - weight, "champion"), _arm(candidate, weight, "canary"))
    return Route(champion.model, arms, _shadows(champion.model, shadows))


def promote(route: Route) -> Route:
    """The canary becomes the champion and gets every request; shadows stay.

    Raises:
        ConflictError: ``deploy.no-canary``.
    """
    return _only(route, "canary")


def rollback(route: Route) -> Route:
    """The champion gets every request again; the canary is gone, shadows stay.

    Raises:
        ConflictError: ``deploy.no-champion``.
    """
    return _only(route, "champion")


def _only(route: Route, role: Role) -> Route:
    arm = next((arm for arm in route.arms if arm.role == role), None)
    if arm is None:
        raise ConflictError(
            f"deploy.no-{role}",
            f"The route of {route.model!r} has no {role}.",
            why="It was promoted or rolled back already.",
            fix="Look at the model's status.",
        )
    return Route(route.model, (Arm(arm.version, arm.digest, 1.0, "champion"),), route.shadows)
