"""Commands that show the registry's state: status, versions, history, ledger, tokens, plugins, settings."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import click

from modelwright.core.access import ROLES, Act
from modelwright.core.errors import NotFoundError
from modelwright.interfaces.cli.output import clock_time, counted, json_option, moment, print_json, print_table
from modelwright.interfaces.cli.session import current_platform, current_settings, operator
from modelwright.settings import Setting

DAMAGED = 6


@click.command(epilog="Example: modelwright status")
@json_option
def status(as_json: bool) -> None:
    """Show what is deployed, where it answers, and whether a server is running."""
    settings = current_settings()
    server = running_server(settings.home / "run" / "server.json")
    models: list[dict[str, Any]] = []
    with current_platform() as platform:
        for name in platform.versions.models():
            route = platform.routes.route(name)
            reports = platform.findings.reports(name, limit=1)
            models.append(
                {
                    "model": name,
                    "aliases": dict(platform.versions.aliases(name)),
                    "arms": [asdict(arm) for arm in route.arms] if route else [],
                    "shadows": [arm.version for arm in route.shadows] if route else [],
                    "findings": len(reports[0].findings) if reports else None,
                }
            )
        counts = platform.log.counts()
    if as_json:
        print_json({"home": str(settings.home), "server": server, "models": models, "record": counts})
        return
    where = f"answers on http://{server['http']}, pages on http://{server['control']}" if server else "not running"
    click.echo(f"server   {where}")
    click.echo(f"data     {settings.home}")
    recorded = counted(counts.get("predictions", 0), "prediction"), counted(counts.get("truths", 0), "truth")
    click.echo(f"record   {', '.join(recorded)}")
    click.echo()
    rows = [
        [
            model["model"],
            ", ".join(f"{arm['version']} ({arm['role']} {arm['weight']:.0%})" for arm in model["arms"]),
            ", ".join(model["shadows"]),
            model["findings"],
        ]
        for model in models
    ]
    empty = "No models yet. Begin with: modelwright release model.joblib --name NAME --data FILE --target COLUMN"
    print_table("Models", ["model", "serving", "shadows", "findings (last look)"], rows, empty=empty)


def running_server(file: Path) -> dict[str, Any] | None:
    """What the running server says of itself; None when there is none, or when it was killed and left its file."""
    try:
        said: dict[str, Any] = json.loads(file.read_text())
        os.kill(int(said["pid"]), 0)
    except PermissionError:  # it is there, and somebody else's
        return said
    except (OSError, ValueError, KeyError):
        return None
    return said


@click.command(epilog="Example: modelwright versions flight-delay")
@click.argument("name")
@json_option
def versions(name: str, as_json: bool) -> None:
    """List the versions of a model, oldest first."""
    from modelwright.lifecycle.signed import signed_state  # lazy: the stories

    with current_platform() as platform:
        found = platform.versions.versions(name)
        aliases: dict[str, list[str]] = {}
        for alias, number in platform.versions.aliases(name).items():
            aliases.setdefault(number, []).append(alias)
        signed = {version.number: signed_state(platform, version.digest) for version in found}
    if as_json:
        more = {v.number: {"aliases": aliases.get(v.number, []), "signed": asdict(signed[v.number])} for v in found}
        print_json([asdict(version) | more[version.number] for version in found])
        return
    rows = [
        [
            v.number,
            ", ".join(aliases.get(v.number, [])),
            clock_time(v.created_at),
            v.created_by,
            v.digest[:12],
            signed[v.number].signer or signed[v.number].key_id[:12],
            signed[v.number].state,
            v.reason,
        ]
        for v in found
    ]
    print_table(name, ["version", "aliases", "registered (UTC)", "by", "digest", "signer", "signature", "why"], rows)


@click.command(epilog="Example: modelwright history flight-delay")
@click.argument("name")
@json_option
def history(name: str, as_json: bool) -> None:
    """Show every move of every alias of a model: who, when, why."""
    with current_platform() as platform:
        platform.versions.versions(name)  # raises for an unknown name, with a suggestion
        moves = platform.versions.alias_history(name)
    if as_json:
        print_json([asdict(move) for move in moves])
        return
    rows = [[clock_time(m.at), m.alias, m.from_version, m.to_version, m.by, m.why] for m in moves]
    print_table(name, ["when (UTC)", "alias", "from", "to", "by", "why"], rows)


@click.group(epilog="Example: modelwright ledger verify")
def ledger() -> None:
    """Read and verify the hash-chained ledger of every act."""


@ledger.command("show", epilog="Example: modelwright ledger show --subject flight-delay --limit 20")
@click.option("--subject", help="Only entries about this model or thing.")
@click.option("--after", default=0, type=click.IntRange(0), help="Only entries after this sequence number.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="At most so many.")
@json_option
def ledger_show(subject: str | None, after: int, limit: int, as_json: bool) -> None:
    """List entries in order."""
    with current_platform() as platform:
        entries = list(islice(platform.ledger.entries(subject=subject, after=after), limit))
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    rows = [[e.sequence, clock_time(e.at), e.actor, e.action, e.subject, e.reason] for e in entries]
    print_table("Ledger", ["#", "when (UTC)", "who", "what", "about", "why"], rows)


@ledger.command("verify", epilog="Example: modelwright ledger verify && echo unbroken")
@json_option
def ledger_verify(as_json: bool) -> int:
    """Recompute the chain and check the signed checkpoints. Exit code 6 when it does not hold."""
    with current_platform() as platform:
        verdict = platform.ledger.verify()
    if as_json:
        print_json(asdict(verdict))
    elif verdict.verified:
        click.echo(f"{click.style('verified', fg='green', bold=True)} {verdict.entries} entries, head {verdict.head}")
    else:
        where = f" at entry {verdict.first_bad}" if verdict.first_bad else ""
        click.echo(f"{click.style('BROKEN', fg='red', bold=True)}{where}: {verdict.why}")
    return 0 if verdict.verified else DAMAGED


@click.group(epilog="Example: modelwright token issue --subject departure-board --role predictor")
def token() -> None:
    """Issue, list and revoke access tokens."""


@token.command("issue", epilog="Example: modelwright token issue --subject departure-board --role predictor")
@click.option("--subject", required=True, help="Who will use it.")
@click.option("--role", required=True, type=click.Choice(sorted(ROLES)), help="What it may do.")
@click.option(
    "--days", type=click.FloatRange(min=0), default=90, show_default=True, help="Days it lives; 0 = for ever."
)
@click.option(
    "--rate", type=click.FloatRange(min=0), default=0, help="Requests a second it may make; 0 = any number [0]."
)
@json_option
def token_issue(subject: str, role: str, days: float, rate: float, as_json: bool) -> None:
    """Make a token and print it, once: only its digest is kept."""
    from modelwright.lifecycle.rollout import republish  # lazy: the stories

    with current_platform() as platform:
        text = platform.tokens.issue(subject, role, act=Act(operator()), ttl_seconds=days * 86_400, rate=rate)
        republish(platform)
    if as_json:
        print_json({"token": text, "subject": subject, "role": role})
        return
    click.echo(text)


@token.command("list", epilog="Example: modelwright token list")
@json_option
def token_list(as_json: bool) -> None:
    """List live tokens (their digests)."""
    with current_platform() as platform:
        grants = platform.tokens.grants()
    if as_json:
        print_json([asdict(grant) for grant in grants])
        return
    rows = [
        [
            grant.subject,
            grant.role,
            moment(grant.expires_at) if grant.expires_at else "for ever",
            f"{grant.rate:g}/s" if grant.rate else "any",
            grant.token_sha256[:12],
        ]
        for grant in grants
    ]
    print_table("Tokens", ["subject", "role", "until (UTC)", "requests", "sha256"], rows)


@token.command("revoke", epilog="Example: modelwright token revoke --subject departure-board")
@click.option("--subject", required=True, help="Whose tokens.")
@json_option
def token_revoke(subject: str, as_json: bool) -> None:
    """Revoke every token of a subject."""
    from modelwright.lifecycle.rollout import republish  # lazy: the stories

    with current_platform() as platform:
        known = {grant.subject for grant in platform.tokens.grants()}
        if subject not in known:
            near = difflib.get_close_matches(subject, known, n=1)
            fix = f"Did you mean {near[0]!r}?" if near else "`modelwright token list` names them."
            raise NotFoundError("tokens.unknown-subject", f"Nobody named {subject!r} has a live token.", fix=fix)
        count = platform.tokens.revoke(subject, act=Act(operator()))
        republish(platform)
    if as_json:
        print_json({"revoked": count})
        return
    click.echo(f"{counted(count, 'token')} of {subject} revoked")


@click.command(epilog="Example: modelwright plugins")
@json_option
def plugins(as_json: bool) -> None:
    """List the adapters found, which distribution each came from, and why any failed."""
    from modelwright import wiring  # lazy: adapters

    found: list[dict[str, Any]] = wiring.plugins()
    if as_json:
        print_json(found)
        return
    rows = [[p["group"], p["name"], p["distribution"], p["error"] or "ok"] for p in found]
    print_table("Plugins", ["group", "name", "from", "state"], rows)


@click.command(epilog="Example: MODELWRIGHT_HTTP=127.0.0.1:9000 modelwright settings")
@json_option
def settings(as_json: bool) -> None:
    """List every setting with its value now, its variable and its meaning."""
    from modelwright.settings import SETTINGS  # lazy: only here

    values = current_settings()
    rows = [(s.name, _shown(s, getattr(values, s.name)), s.variable, s.help) for s in SETTINGS]
    if as_json:
        print_json([dict(zip(("name", "value", "variable", "help"), row, strict=True)) for row in rows])
        return
    print_table("Settings", ["setting", "value", "variable", "meaning"], rows)


def _shown(setting: Setting, value: object) -> str:
    return "(set)" if setting.secret and value else str(value)
