"""Who may do what: actors, roles and permissions, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelwright.core.errors import BadInputError

Permission = Literal["health", "predict", "truth", "read", "metrics", "deploy", "admin", "unjail"]

ROLES: dict[str, frozenset[Permission]] = {
    "predictor": frozenset({"health", "predict", "truth"}),
    "viewer": frozenset({"health", "read", "metrics"}),
    "deployer": frozenset({"health", "predict", "truth", "read", "metrics", "deploy"}),
    "admin": frozenset({"health", "predict", "truth", "read", "metrics", "deploy", "admin", "unjail"}),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """A subject with one role; the local operator on the command line is ``admin`` of their own data directory."""

    subject: str
    role: str

    def may(self, permission: Permission) -> bool:
        """True when the role grants the permission; an unknown role grants nothing."""
        return permission in ROLES.get(self.role, frozenset())


@dataclass(frozen=True, slots=True)
class Act:
    """Who does it, why, and under which idempotency key: what each change of state carries into the ledger.

    Repeating a change under the same ``key`` gives the first result again and writes nothing.
    """

    actor: str
    reason: str = ""
    key: str = ""


def require_role(role: str) -> None:
    """Check that a role exists.

    Raises:
        BadInputError: ``tokens.unknown-role``.
    """
    if role not in ROLES:
        raise BadInputError(
            "tokens.unknown-role", f"There is no role {role[:80]!r}.", fix=f"Choose one of {', '.join(ROLES)}."
        )
