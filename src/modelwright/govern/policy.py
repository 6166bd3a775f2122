"""The one place that says no: every interface asks here, with the permission that its route names."""

from __future__ import annotations

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
