"""Aliases -> routes: what is deployed follows the aliases, and a route counts only when every gateway serves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.errors import (
    ConflictError,
    CorruptError,
    ModelwrightError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from modelwright.core.version import Route, Version
from modelwright.deploy.plan import all_at_once
from modelwright.lifecycle.policies import policy_of
from modelwright.lifecycle.signed import require_signed, signed_roles
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps

CHAMPION, CHALLENGER, SHADOW = "champion", "challenger", "shadow"
WAIT_SECONDS = 30.0


def shadows_of(platform: Platform, model: str, *, besides: tuple[str, ...]) -> list[Version]:
    """Versions that policy (``keep_shadow``) and the alias ``shadow`` name, without those that answer every request."""
    shadows: dict[str, Version] = {}
    for reference in (policy_of(platform, model).keep_shadow, platform.versions.alias(model, SHADOW)):
        if not reference:
            continue
        try:
            version = platform.versions.version(model, reference)
        except NotFoundError:
            continue  # the policy may name a version that is not registered yet
        if version.number not in besides:
            shadows[version.number] = version
    return list(shadows.values())


def route_for(platform: Platform, version: Version) -> Route:
    """All requests to one version, with the model's shadows."""
    return all_at_once(version, shadows_of(platform, version.model, besides=(version.number,)))


def settled_route(platform: Platform, model: str) -> Route:
    """The route that the aliases alone call for: the champion with all requests, or no arm when there is none."""
    champion = platform.versions.alias(model, CHAMPION)
    return route_for(platform, platform.versions.version(model, champion)) if champion else Route(model, ())


def republish(platform: Platform) -> int:
    """Publish the registry's table again (after a crash the target may hold an older one); returns its epoch.

    A route without arms is a model out of service, and no gateway hears of it.
    """
    table = platform.routes.table()
    live = {model: with_signed(platform, route) for model, route in table.routes.items() if route.arms}
    platform.target.publish(replace(table, routes=live))
    return table.epoch


def with_signed(platform: Platform, route: Route) -> Route:
    """The route with the roles that must be signed: what the project file says now, and what it said at its setting."""
    return replace(route, signed=tuple(dict.fromkeys((*route.signed, *signed_roles(platform, route.model)))))


def put_in_force(platform: Platform, route: Route, *, act: Act) -> int:
    """Set the route, publish it, and wait until every gateway serves it; returns the epoch.

    When a gateway cannot, the settled route is put back first.

    Raises:
        RefusedError: ``deploy.load-failed`` from a gateway.
        UnavailableError: ``deploy.not-in-force`` when a gateway did not answer in time.
        ConflictError: ``deploy.route-changed`` when another route of the model took its place meanwhile.
    """
    epoch = platform.routes.set_route(replace(route, signed=signed_roles(platform, route.model)), act=act)
    republish(platform)
    try:
        wait_for(platform, route.model, epoch)
        _require_route(platform, route)
    except ModelwrightError as error:
        undo = replace(act, reason=f"put back: {error.what}", key=f"{act.key}/undo")
        settle(platform, route.model, act=undo, stale=lambda found: found.arms == route.arms)
        raise
    return epoch


def wait_for(platform: Platform, model: str, epoch: int) -> None:
    """Wait until every gateway serves the epoch.

    Raises:
        RefusedError: ``deploy.load-failed`` from a gateway.
        UnavailableError: ``deploy.not-in-force`` when a gateway did not answer in time.
    """
    if not platform.target.wait(epoch, timeout=WAIT_SECONDS):
        raise UnavailableError(
            "deploy.not-in-force",
            f"Not every gateway took over the new route of {model} within {WAIT_SECONDS:.0f} seconds.",
            why="A gateway is overloaded or stuck.",
            fix="Look at `modelwright status`, then try again; the route from before is in force.",
        )


def settle(platform: Platform, model: str, *, act: Act, stale: Callable[[Route], bool]) -> None:
    """Put the settled route in the place of a stale one; a route that another story set meanwhile stays."""
    for attempt in count(1):
        found = platform.routes.route(model) or Route(model, ())
        if not stale(found):
            return
        try:
            once = replace(act, key=f"{act.key}/{attempt}")
            route = replace(settled_route(platform, model), signed=signed_roles(platform, model))
            platform.routes.set_route(route, act=once, expected=found)
        except ConflictError:
            continue
        republish(platform)
        return


def require_package(platform: Platform, version: Version) -> None:
    """Every file of the version's package is there: without a server, no gateway would find out before its start.

    Raises:
        RefusedError: ``deploy.package-damaged``.
    """
    try:
        package_codec.load(version.digest, platform.blobs.get)
    except (NotFoundError, CorruptError) as error:
        raise RefusedError(
            "deploy.package-damaged",
            f"Version {version.number} of {version.model} cannot be deployed: its package is damaged.",
            why=error.what,
            fix="Restore the data directory's blobs from a backup, or name another version.",
        ) from error


def _require_route(platform: Platform, route: Route) -> None:
    """The arms are still those that were set: a newer epoch in force may be somebody else's, or our own undoing."""
    found = platform.routes.route(route.model)
    if found is None or found.arms != route.arms:
        raise ConflictError(
            "deploy.route-changed",
            f"The route of {route.model} was changed by something else in the meantime.",
            fix="Look at `modelwright history`, then try again.",
        )


def _follows(route: Route, champion: str) -> bool:
    """The route sends what no canary takes to the champion."""
    return [arm.version for arm in route.arms if arm.role == "champion"] == [champion]


def act_of(steps: Steps, arguments: Json, name: str) -> Act:
    """Who runs the story and why, under an idempotency key of its own for each step."""
    return Act(str(arguments["actor"]), str(arguments.get("reason", "")), f"{steps.key}/{name}")


def note(
    platform: Platform, steps: Steps, arguments: Json, *, action: str, model: str, why: str, evidence: Json
) -> None:
    """One ledger entry as a step of its own, so that it holds the recorded evidence and not a second run's."""

    def write() -> int:
        act = replace(act_of(steps, arguments, action), reason=why)
        return platform.ledger.append(action, model, act=act, evidence=evidence).sequence

    steps.do(f"ledger {action}", write)


def crown(platform: Platform, steps: Steps, arguments: Json, *, version: Version, expected: str) -> None:
    """Give a version all requests, and then the alias ``champion``: the alias never names what is not in force.

    Raises:
        RefusedError: a gateway cannot load it; what was in force before is in force again. Or it lacks the signature
            that the policy asks for; nothing has changed then.
        ConflictError: ``register.alias-moved``: the champion changed in the meantime; its route is in force again.
    """
    model = version.model
    require_signed(platform, steps, version, CHAMPION)
    steps.do(
        "route to version",
        lambda: put_in_force(platform, route_for(platform, version), act=act_of(steps, arguments, "route")),
    )

    def move() -> Json:
        act = act_of(steps, arguments, "champion")
        try:
            moved = platform.versions.set_alias(model, CHAMPION, version.number, act=act, expected=expected)
        except ConflictError:
            undo = replace(act, reason="put back: the champion moved in the meantime", key=f"{act.key}/undo")
            settle(platform, model, act=undo, stale=lambda found: found.arms == route_for(platform, version).arms)
            raise
        # Another story may have put its own route, or an older one back, between our two steps.
        again = replace(act, reason="the champion's route again", key=f"{act.key}/again")
        settle(
            platform,
            model,
            act=again,
            stale=lambda found: not _follows(found, platform.versions.alias(model, CHAMPION)),
        )
        return {"from": moved.from_version, "to": moved.to_version}

    steps.do("move champion", move)
