"""What `modelwright bench` does, from its options to its exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from modelwright.bench.job import Load
from modelwright.core.errors import BadInputError
from modelwright.interfaces.cli import bench_measure, bench_report, bench_subject
from modelwright.interfaces.cli.output import FINDINGS, print_json, working
from modelwright.interfaces.cli.session import current_settings, existing_file
from modelwright.settings import set_outside

INTERRUPTED = 130


def numbers(text: str, option: str) -> list[float]:
    """Comma-separated positive numbers.

    Raises:
        BadInputError: ``bench.bad-numbers``.
    """
    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        found = []
    if not found or any(not 0 < number < 1e7 for number in found):
        raise BadInputError(
            "bench.bad-numbers", f"{option} {text!r} is no list of positive numbers.", fix=f"Write {option} 1,4,16."
        )
    return found


def run(
    name: str | None,
    connections: str,
    rate: str,
    arrivals: Any,
    target_p99_ms: float | None,
    tune: bool,
    apply_it: bool,
    undo: bool,
    seconds: float,
    rounds: int,
    html: str | None,
    as_json: bool,
    **asked: Any,
) -> int:
    """Measure what the options ask for, print it, and give the exit code."""
    if undo:
        return _undo(as_json=as_json)
    _refuse_contradictions(asked["url"], rate, target_p99_ms, tune=tune, apply_it=apply_it)
    wishes = bench_subject.Wishes(
        name=name, warm_seconds=min(1.0, seconds / 10), **asked | {"token": _token(asked["token"])}
    )
    counts = [int(number) for number in numbers(connections, "--connections")]
    rates = numbers(rate, "--rate") if rate else [1.0] if target_p99_ms else []
    each = seconds / rounds / (len(rates) or len(counts))
    loads = [Load(max(counts), one, each, arrivals=arrivals) for one in rates]
    plan = bench_measure.Plan(
        loads or [Load(one, 0.0, each) for one in counts], rounds, seconds, target_ms=target_p99_ms
    )
    subject = bench_subject.subject_of(wishes)
    report = bench_report.Report(bench_report.setup(_words()), target_ms=target_p99_ms)
    try:
        _measure(wishes, subject, plan, report, tune=tune, quiet=as_json)
    except KeyboardInterrupt:
        report.interrupted = True
    applied = _apply(report) if apply_it and report.chosen and not report.interrupted else None
    _print(report, applied, html, as_json=as_json)
    if report.interrupted:
        return INTERRUPTED
    missed = report.search is not None and not report.search.rate
    return FINDINGS if report.checked.wrong or missed else 0


def _refuse_contradictions(url: str | None, rate: str, target: float | None, *, tune: bool, apply_it: bool) -> None:
    if apply_it and not tune:
        raise click.UsageError("--apply goes with --tune.")
    if tune and url is not None:
        raise click.UsageError("--tune starts servers of its own: it does not go with --url.")
    if target is not None and (rate or tune):
        raise click.UsageError("--target-p99-ms searches the rate by itself: it does not go with --rate or --tune.")


def _token(text: str) -> str:
    return existing_file(text[1:], "token file").read_text().strip() if text.startswith("@") else text


def _words() -> list[str]:
    """The command line as it was given; in a test there is none."""
    return sys.argv[1:] if sys.argv[1:2] == ["bench"] or "bench" in sys.argv[1:] else ["bench"]


def _measure(
    wishes: bench_subject.Wishes,
    subject: bench_subject.Subject,
    plan: bench_measure.Plan,
    report: bench_report.Report,
    *,
    tune: bool,
    quiet: bool,
) -> None:
    report.setup |= {
        "model": subject.name,
        "asked": f"{wishes.rows} row{'' if wishes.rows == 1 else 's'} per request ({subject.rows.source}), "
        f"{'binary' if wishes.binary or wishes.protocol == 'grpc' else 'JSON'} over {wishes.protocol}",
        "server": "servers of its own on loopback" if tune else "",
    }
    if wishes.url is None:
        report.setup["settings"] = bench_subject.told_settings()
        report.workers = current_settings().workers
    with working(f"bench: {subject.name} ...", quiet=quiet) as tell:
        if tune:
            bench_measure.try_settings(wishes, subject, plan, report, tell)
            return
        if wishes.url is not None:
            click.echo("These are predictions like any other: the server keeps them in its prediction log.", err=True)
        with bench_subject.served(wishes, subject, {}) as server:
            report.setup["server"], report.workers = server.where, server.workers
            with bench_subject.session(wishes, subject, server) as running:
                report.setup["generators"] = running.generators
                if plan.target_ms is not None:
                    bench_measure.find_capacity(running, plan, report, tell)
                else:
                    bench_measure.put_loads(running, plan, report, tell)


def _apply(report: bench_report.Report) -> dict[str, Any]:
    from modelwright import wiring  # lazy: adapters

    project = current_settings().project
    former = wiring.change_settings(project, dict(report.chosen or {}))
    hidden = set_outside(report.chosen or {})
    return {"file": str(project), "settings": report.chosen, "former": former, "hidden_by": hidden}


def _undo(*, as_json: bool) -> int:
    from modelwright import wiring  # lazy: adapters

    project = current_settings().project
    wiring.restore_settings(project)
    if as_json:
        print_json({"file": str(project), "restored": True})
    else:
        click.echo(f"{project} is as it was before --apply. Restart the server for it to count.")
    return 0


def _print(report: bench_report.Report, applied: dict[str, Any] | None, html: str | None, *, as_json: bool) -> None:
    body = bench_report.body_of(report)
    if html is not None:
        from modelwright.interfaces.cli.bench_html import page  # lazy: charts, an extra

        Path(html).write_text(page(body), encoding="utf-8")
    if as_json:
        print_json(body | {"applied": applied, "html": html})
        return
    bench_report.show(report)
    if applied is not None:
        click.echo(
            f"applied   {applied['file']} has it now; restart the server. `modelwright bench --undo` takes it back."
        )
        for name, value in applied["former"].items():
            click.echo(f"          {name} was {'not set there' if value is None else value}")
        for variable in applied["hidden_by"]:
            click.echo(f"          {variable} is set in the environment and counts before the file: unset it")
    if html is not None:
        click.echo(f"report    {html}")
