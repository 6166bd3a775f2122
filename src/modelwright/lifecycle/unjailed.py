"""Model code without a jail: who brings it in needs a permission, and the ledger says who did."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core import package_codec
from modelwright.core.access import Actor
from modelwright.core.errors import ForbiddenError
from modelwright.core.unjailed import unjailed
from modelwright.govern.policy import require_unjail
from modelwright.lifecycle.rollout import note
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps


def allow_unjailed(
    platform: Platform,
    steps: Steps,
    arguments: Json,
    *,
    model: str,
    digest: str,
    members: Sequence[str],
    standing: Sequence[str] = (),
) -> None:
    """Return when nothing in the package asks for isolation ``off``, or when who acts may bring it in.

    Args:
        platform: the ports.
        steps: durable steps.
        arguments: the story's: ``actor``, and ``role`` where a person or a token acts.
        model: which model it is for.
        digest: of the package.
        members: what :func:`modelwright.core.unjailed.unjailed` says of it.
        standing: the same of the version that it is to follow by itself: what was allowed for that one holds on.

    Raises:
        ForbiddenError: ``govern.isolation-off``; the ledger says so.
    """
    if not members:
        return
    evidence: Json = {"digest": digest, "members": list(members), "isolation": "off"}
    kept = set(members) <= set(standing)
    try:
        if not kept:
            require_unjail(Actor(str(arguments["actor"]), str(arguments.get("role", ""))), model, members)
    except ForbiddenError as error:
        facts = evidence | {"error": error.to_json()}
        note(platform, steps, arguments, action="govern.refused", model=model, why=error.what, evidence=facts)
        raise
    why = "The champion runs without a jail already." if kept else "Its code runs without a jail."
    note(platform, steps, arguments, action="govern.isolation-off", model=model, why=why, evidence=evidence)


def unjailed_of(platform: Platform, digest: str) -> list[str]:
    """Names of the models in a registered package that ask for isolation ``off``."""
    return list(unjailed(package_codec.load(digest, platform.blobs.get)))
