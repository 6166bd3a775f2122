"""Champion -> the champion before it."""

from __future__ import annotations

from collections.abc import Iterable

from modelwright.core.errors import NotFoundError
from modelwright.core.version import AliasMove
from modelwright.lifecycle.promote import change_champion
from modelwright.lifecycle.rollout import CHAMPION
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps


def rollback(platform: Platform, steps: Steps, arguments: Json) -> Json:
    """Go back to ``arguments["to"]``, or (null) to the champion before the present one.

    Returns:
        ``outcome`` (``rolled-back`` or ``unchanged``), ``version``, ``from``, ``why``.

    Raises:
        NotFoundError: ``deploy.nothing-before``.
    """
    model = str(arguments["model"])
    to = arguments.get("to") or steps.do("find version before", lambda: before(platform, model))
    return change_champion(platform, steps, arguments, to=str(to), action="deploy.rollback")


def before(platform: Platform, model: str) -> str:
    """Number of the champion before the present one."""
    standing = champions(platform.versions.alias_history(model))
    if len(standing) < 2:
        raise NotFoundError(
            "deploy.nothing-before",
            f"Model {model} has no champion before the present one.",
            fix="Name the version to go back to; `modelwright versions` lists them.",
        )
    return standing[-2]


def champions(moves: Iterable[AliasMove]) -> list[str]:
    """Champions in force one after the other; going back to the one before takes the last one off again.

    So a second rollback goes one version further back, and does not undo the first.
    """
    standing: list[str] = []
    for move in moves:
        if move.alias != CHAMPION or not move.to_version or standing[-1:] == [move.to_version]:
            continue
        if len(standing) > 1 and standing[-2] == move.to_version:
            standing.pop()
        else:
            standing.append(move.to_version)
    return standing
