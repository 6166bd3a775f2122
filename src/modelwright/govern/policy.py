"""The one place that says no: every interface asks here, with the permission that its route names."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core.access import ROLES, Actor, Permission
from modelwright.core.errors import ForbiddenError


def require(actor: Actor, permission: Permission | None) -> None:
    """Return when the actor's role grants the permission; what names none is denied to everybody.

    Raises:
        ForbiddenError: ``govern.forbidden``, with the roles that would do.
    """
    if permission is not None and actor.may(permission):
        return
    enough = [role for role, granted in ROLES.items() if permission in granted]
    raise ForbiddenError(
        "govern.forbidden",
        f"{actor.subject!r} may not do this: it needs the permission {permission!r}.",
        why=f"The role {actor.role!r} does not grant it.",
        fix=f"Use a token of the role {' or '.join(enough)}." if enough else "No role grants it.",
        details={"permission": permission, "role": actor.role, "roles": enough},
    )


def require_unjail(actor: Actor, subject: str, members: Sequence[str]) -> None:
    """Return when the actor may bring in models that run as code without a jail, or when there are none.

    Args:
        actor: who asks.
        subject: the model that is brought in.
        members: names of those in it that ask for isolation ``off``: the model itself, or nodes of a graph.

    Raises:
        ForbiddenError: ``govern.isolation-off``, with the roles that would do.
    """
    if not members or actor.may("unjail"):
        return
    enough = [role for role, granted in ROLES.items() if "unjail" in granted]
    raise ForbiddenError(
        "govern.isolation-off",
        f"{actor.subject!r} may not bring in {subject}: it runs code without a jail ({', '.join(members)}).",
        why=f"The role {actor.role or 'none'!r} does not grant the permission 'unjail'.",
        fix=f"Pack it with --isolation strict or standard, or let someone of the role {' or '.join(enough)} do it.",
        details={"permission": "unjail", "role": actor.role, "roles": enough, "members": list(members)},
    )
