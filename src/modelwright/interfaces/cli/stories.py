"""Commands that run a story: release, promote, rollback, shadow, renew; and the list of stories."""

from __future__ import annotations

from typing import Any

import click

from modelwright.core.names import require_model_name
from modelwright.interfaces.cli.output import FINDINGS, json_option, moment, print_json, print_table
from modelwright.interfaces.cli.packages import GRAPH, LEVELS, show_verdict
from modelwright.interfaces.cli.session import current_platform, existing_file, existing_model, tell

NATIVE = click.option("--native", "route", flag_value="native", help="Run the model as code in a jail; do not convert.")
ONNX = click.option("--onnx", "route", flag_value="onnx", help="Convert to ONNX or refuse.")
REASON = click.option("--reason", default="", help="Why; kept in the ledger.")


def _finish(result: dict[str, Any], *, name: str, as_json: bool) -> int:
    refused = result["outcome"] in {"refused", "rolled-back"} and "digest" in result
    if as_json:
        print_json(result)
    else:
        if result.get("verdict"):
            show_verdict(result["verdict"])
            click.echo()
        colour = "red" if refused else "green"
        version = f" version {result['version']}" if result.get("version") else ""
        stopped = any(not gate["passed"] for gate in (result.get("verdict") or {}).get("gates", ()))
        why = "it is not registered, and what is served has not changed." if stopped else result["why"]
        click.echo(f"{click.style(result['outcome'], fg=colour, bold=True)} {name}{version}{why and ': '}{why}")
    return FINDINGS if refused else 0


@click.command(
    epilog="Example: modelwright release model.joblib --name flight-delay --data validation.parquet --target late"
)
@click.argument("artifact")
@click.option("--name", required=True, help="Name of the model: a-z, 0-9, dot, dash, underscore.")
@GRAPH
@click.option("--data", required=True, help="Labelled rows to judge the model on (.parquet, .csv, .jsonl).")
@click.option("--target", required=True, help="Column of --data that holds the truth.")
@click.option("--reference", help="Training rows for the reference profile; --data when left out.")
@NATIVE
@ONNX
@click.option("--isolation", type=LEVELS, default="strict", help="Jail of a model that runs as code.")
@click.option("--canary/--no-canary", default=True, help="Try it on a share of the requests first (if one is live).")
@REASON
@json_option
def release(
    artifact: str,
    name: str,
    graph: str | None,
    data: str,
    target: str,
    reference: str | None,
    route: str | None,
    isolation: str,
    canary: bool,
    reason: str,
    as_json: bool,
) -> int:
    """Pack, check, register and deploy a model in one story. Exit code 3 when it is refused or rolled back.

    It takes the models that `pack` takes, models:/NAME/VERSION and runs:/RUN/PATH of MLflow too, which are fetched
    where the story is told. A package that is ready (.mw) is taken as it is, with the signature it brings.
    The first version is deployed at once. A later one is compared with the champion on the same rows, tried as a
    canary while a server gets requests, and promoted or rolled back on evidence.
    """
    from modelwright import wiring  # lazy: adapters

    require_model_name(name)
    arguments = {
        "artifact": artifact if wiring.in_mlflow(artifact) else str(existing_model(artifact, graph=graph or name)),
        "name": name,
        "data": str(existing_file(data, "data file")),
        "target": target,
        "reference": str(existing_file(reference, "data file")) if reference else None,
        "route": route,
        "isolation": isolation,
        "canary": canary,
        "reason": reason,
    }
    result = tell("release", arguments, message=f"release: packing {artifact} ...", quiet=as_json)
    return _finish(result, name=name, as_json=as_json)


@click.command(epilog="Example: modelwright promote flight-delay 4 --reason 'approved by risk'")
@click.argument("name")
@click.argument("version")
@REASON
@json_option
def promote(name: str, version: str, reason: str, as_json: bool) -> int:
    """Make a registered version (number, alias or digest) the champion, all at once."""
    arguments = {"model": name, "version": version, "reason": reason}
    result = tell("promote", arguments, message=f"promote: {name} {version} ...", quiet=as_json)
    return _finish(result, name=name, as_json=as_json)


@click.command(epilog="Example: modelwright rollback flight-delay --reason 'complaints since noon'")
@click.argument("name")
@click.option("--to", "to_version", help="Version to go back to; the champion before the present one when left out.")
@REASON
@json_option
def rollback(name: str, to_version: str | None, reason: str, as_json: bool) -> int:
    """Go back to the champion before the present one."""
    arguments = {"model": name, "to": to_version, "reason": reason}
    result = tell("rollback", arguments, message=f"rollback: {name} ...", quiet=as_json)
    return _finish(result, name=name, as_json=as_json)


@click.command(epilog="Example: modelwright shadow flight-delay 1   (and: modelwright shadow flight-delay --off)")
@click.argument("name")
@click.argument("version", required=False)
@click.option("--off", is_flag=True, help="Take the shadow away.")
@REASON
@json_option
def shadow(name: str, version: str | None, off: bool, reason: str, as_json: bool) -> None:
    """Let a version see the same requests and be recorded, without answering."""
    if off == bool(version):
        raise click.UsageError("Give a version, or --off.")
    arguments = {"model": name, "version": version, "reason": reason}
    result = tell("shadow", arguments, message=f"shadow: {name} ...", quiet=as_json)
    if as_json:
        print_json(result)
        return
    click.echo(f"{name}: shadows now {', '.join(result['shadows']) or 'none'}")


@click.command(epilog="Example: modelwright renew flight-delay --reason 'month end'")
@click.argument("name")
@click.option("--since", type=float, help="Only rows recorded from this event time on (Unix seconds, UTC).")
@click.option("--until", type=float, help="Only rows recorded before this event time (Unix seconds, UTC).")
@NATIVE
@ONNX
@click.option(
    "--auto", "route", flag_value="auto", help="Convert where that works. None of the three: as the champion."
)
@click.option("--isolation", type=LEVELS, help="Jail of a model that runs as code; the champion's when left out.")
@REASON
@json_option
def renew(
    name: str,
    since: float | None,
    until: float | None,
    route: str | None,
    isolation: str | None,
    reason: str,
    as_json: bool,
) -> int:
    """Train a candidate on recorded rows by the recipe in modelwright.yaml, then treat it as a release.

    It runs as the champion does, converted or as code; a model that cannot is refused, unless you say otherwise.
    """
    arguments = {"model": name, "cause": "manual", "since": since, "until": until, "reason": reason}
    arguments |= {"route": route, "isolation": isolation}
    result = tell("renew", arguments, message=f"renew: {name} ...", quiet=as_json)
    return _finish(result, name=name, as_json=as_json)


@click.command(epilog="Example: modelwright stories --limit 5")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
@json_option
def stories(limit: int, as_json: bool) -> None:
    """List stories: what ran, how far it is, how it ended."""
    from dataclasses import asdict  # lazy

    from modelwright import wiring  # lazy: the workflow engine

    with current_platform() as platform, wiring.workflow(platform, role="cli") as workflow:
        states = workflow.states(limit=limit)
    if as_json:
        print_json([asdict(state) for state in states])
        return
    rows = []
    for state in states:
        ended = dict(state.result or state.error or {})
        last = ended.get("outcome") or ended.get("what") or (state.steps[-1] if state.steps else "")
        rows.append([state.key, state.story, state.status, moment(state.started_at), len(state.steps), last])
    print_table("Stories", ["key", "story", "status", "started", "steps", "last"], rows)
