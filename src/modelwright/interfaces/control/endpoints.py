"""What each route does: translate to a port or a story, decide nothing."""

from __future__ import annotations

import re
import uuid
from typing import Any

import msgspec

from modelwright.core.about import __version__
from modelwright.core.access import ROLES, Act
from modelwright.core.errors import BadInputError, NotFoundError, RefusedError
from modelwright.core.record_codec import to_json
from modelwright.interfaces.control import bodies
from modelwright.interfaces.control.routes import Answer, Call, RouteRow
from modelwright.lifecycle.rollout import republish
from modelwright.lifecycle.signed import signed_state

_KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def status(call: Call) -> dict[str, Any]:
    """Models with their champion and route, stories that still run, and the prediction log's counts."""
    platform = call.platform
    models = [
        {"model": name, "champion": platform.versions.alias(name, "champion"), "route": platform.routes.route(name)}
        for name in platform.versions.models()
    ]
    pending = [state.key for state in call.workflow.states() if state.status == "pending"]
    return {
        "modelwright": __version__,
        "now": platform.clock.now(),
        "models": models,
        "pending_stories": pending,
        "log": platform.log.counts(),
    }


def models(call: Call) -> dict[str, Any]:
    """Every model with its aliases."""
    versions = call.platform.versions
    return {"models": [{"model": name, "aliases": dict(versions.aliases(name))} for name in versions.models()]}


def model(call: Call) -> dict[str, Any]:
    """Aliases, route, number of versions, latest report."""
    name, platform = call.path["model"], call.platform
    versions = platform.versions.versions(name)
    reports = platform.findings.reports(name, limit=1)
    return {
        "model": name,
        "aliases": dict(platform.versions.aliases(name)),
        "versions": len(versions),
        "route": platform.routes.route(name),
        "latest_report": reports[0] if reports else None,
    }


def versions(call: Call) -> dict[str, Any]:
    """Every version of a model, oldest first."""
    return {"versions": list(call.platform.versions.versions(call.path["model"]))}


def version(call: Call) -> dict[str, Any]:
    """One version by number, alias or digest prefix, and what its signature is worth."""
    found = call.platform.versions.version(call.path["model"], call.path["version"])
    record: dict[str, Any] = to_json(found)
    return record | {"signed": to_json(signed_state(call.platform, found.digest))}


def history(call: Call) -> dict[str, Any]:
    """Every move of every alias."""
    call.platform.versions.versions(call.path["model"])
    return {"history": list(call.platform.versions.alias_history(call.path["model"]))}


def reports(call: Call) -> dict[str, Any]:
    """Reports of watching, newest first."""
    call.platform.versions.versions(call.path["model"])
    limit = call.whole("limit", 20, most=1000)
    return {"reports": list(call.platform.findings.reports(call.path["model"], limit=limit))}


def _arguments(call: Call, body: bodies.Body) -> dict[str, Any]:
    given: dict[str, Any] = msgspec.to_builtins(body)
    filled = {name: value for name, value in given.items() if value not in (None, "")}
    return filled | {"model": call.path["model"], "actor": call.actor.subject, "role": call.actor.role}


def _run(call: Call, story: str, body: bodies.Body) -> Answer:
    call.platform.versions.versions(call.path["model"])  # an unknown name is a 404 now, not a failed story later
    key = call.key or f"{story}-{call.path['model']}-{uuid.uuid4().hex[:16]}"
    if not _KEY.fullmatch(key):
        raise BadInputError("control.bad-key", "The Idempotency-Key may hold 1 to 128 of A-Z a-z 0-9 . _ : -")
    arguments = _arguments(call, body)
    if call.flag("wait"):
        return Answer({"key": key, "story": story, "result": call.workflow.run(story, arguments, key=key)})
    call.workflow.start(story, arguments, key=key)
    return Answer({"key": key, "story": story, "progress": f"/api/stories/{key}"}, status=202)


def renew(call: Call) -> Answer:
    """Train a candidate by the model's recipe, check it, roll it out."""
    return _run(call, "renew", call.decode(bodies.Renew))


def promote(call: Call) -> Answer:
    """Make a version the champion."""
    return _run(call, "promote", call.decode(bodies.Promote))


def rollback(call: Call) -> Answer:
    """Go back to an earlier champion."""
    return _run(call, "rollback", call.decode(bodies.Rollback))


def shadow(call: Call) -> Answer:
    """Let a version see the requests without answering."""
    return _run(call, "shadow", call.decode(bodies.Shadow))


def watch(call: Call) -> Answer:
    """Look at a window of recorded predictions now."""
    return _run(call, "watch", call.decode(bodies.Watch))


def stories(call: Call) -> dict[str, Any]:
    """The latest stories, newest first."""
    return {"stories": list(call.workflow.states(limit=call.whole("limit", 50, most=500)))}


def story(call: Call) -> Any:
    """How far a story is."""
    state = call.workflow.state(call.path["key"])
    if state is None:
        raise NotFoundError("control.unknown-story", f"There is no story {call.path['key']!r}.")
    return state


def ledger(call: Call) -> dict[str, Any]:
    """Entries after a sequence number, oldest first; ``next`` is the ``after`` of the next page."""
    after, limit = call.whole("after", 0, most=2**53), call.whole("limit", 200, most=1000)
    entries = list(call.platform.ledger.entries(subject=call.query.get("subject"), after=after, limit=limit))
    return {"entries": entries, "next": entries[-1].sequence if len(entries) == limit else None}


def verify_ledger(call: Call) -> Any:
    """Recompute the hash chain and check the signed checkpoints."""
    return call.platform.ledger.verify()


def tokens(call: Call) -> dict[str, Any]:
    """Live tokens: whose, which role, until when; never the token."""
    return {
        "tokens": [
            {"subject": grant.subject, "role": grant.role, "expires_at": grant.expires_at, "rate": grant.rate}
            for grant in call.platform.tokens.grants()
        ]
    }


def issue_token(call: Call) -> Answer:
    """Make a token; its text is in this answer and nowhere else."""
    body = call.decode(bodies.NewToken)
    if body.role not in ROLES:
        raise BadInputError(
            "control.unknown-role", f"There is no role {body.role!r}.", fix=f"Choose one of {', '.join(sorted(ROLES))}."
        )
    act = Act(call.actor.subject, body.reason, call.key)
    text = call.platform.tokens.issue(body.subject, body.role, act=act, ttl_seconds=body.ttl_seconds, rate=body.rate)
    republish(call.platform)
    return Answer({"token": text, "subject": body.subject, "role": body.role}, status=201)


def revoke_tokens(call: Call) -> dict[str, Any]:
    """Revoke every token of a subject."""
    subject = call.path["subject"]
    live = call.platform.tokens.grants()
    admins = {grant.subject for grant in live if grant.role == "admin"}
    if admins == {subject}:
        raise RefusedError(
            "control.last-admin",
            f"{subject!r} holds the last admin token.",
            why="Nobody could issue another one over the API.",
            fix="Issue an admin token to somebody else first.",
        )
    count = call.platform.tokens.revoke(subject, act=Act(call.actor.subject, call.query.get("reason", ""), call.key))
    republish(call.platform)
    return {"subject": subject, "revoked": count}


ROUTES: tuple[RouteRow, ...] = (
    RouteRow("GET", "/api/status", "read", status, "Models, running stories, counts of the prediction log"),
    RouteRow("GET", "/api/models", "read", models, "All models with their aliases"),
    RouteRow("GET", "/api/models/{model}", "read", model, "One model: aliases, route, latest report"),
    RouteRow("GET", "/api/models/{model}/versions", "read", versions, "All versions, oldest first"),
    RouteRow("GET", "/api/models/{model}/versions/{version}", "read", version, "One version"),
    RouteRow("GET", "/api/models/{model}/history", "read", history, "Every move of every alias"),
    RouteRow("GET", "/api/models/{model}/reports", "read", reports, "Reports of watching, newest first"),
    RouteRow("POST", "/api/models/{model}/renew", "deploy", renew, "Train, check and roll out", bodies.Renew),
    RouteRow("POST", "/api/models/{model}/promote", "deploy", promote, "Make a version the champion", bodies.Promote),
    RouteRow("POST", "/api/models/{model}/rollback", "deploy", rollback, "Go back", bodies.Rollback),
    RouteRow("POST", "/api/models/{model}/shadow", "deploy", shadow, "Set or clear the shadow", bodies.Shadow),
    RouteRow("POST", "/api/models/{model}/watch", "deploy", watch, "Look at a window now", bodies.Watch),
    RouteRow("GET", "/api/stories", "read", stories, "Latest stories, newest first"),
    RouteRow("GET", "/api/stories/{key}", "read", story, "Progress of a story"),
    RouteRow("GET", "/api/ledger", "read", ledger, "Ledger entries by `after`, `subject`, `limit`"),
    RouteRow("POST", "/api/ledger/verify", "read", verify_ledger, "Verify the ledger's chain and checkpoints"),
    RouteRow("GET", "/api/tokens", "admin", tokens, "Live tokens, without their text"),
    RouteRow("POST", "/api/tokens", "admin", issue_token, "Issue a token", bodies.NewToken),
    RouteRow("DELETE", "/api/tokens/{subject}", "admin", revoke_tokens, "Revoke a subject's tokens"),
)
