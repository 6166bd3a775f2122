"""``modelwright environments``: the libraries that models which run as code are served with."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelwright.interfaces.cli.output import counted, json_option, moment, print_json, print_table, working
from modelwright.interfaces.cli.session import current_platform, current_settings, existing

if TYPE_CHECKING:
    from modelwright.adapters.environments.built import Built
    from modelwright.core.lock import Pin

DAY = 86_400
KEEP_DAYS = 30
TELLING = {
    *("numpy", "scikit-learn", "xgboost", "lightgbm", "catboost", "torch", "tensorflow", "keras"),
    *("transformers", "tokenizers"),
}


@click.group()
def environments() -> None:
    """Build, list and remove the libraries of models that run as code."""


@environments.command("list", epilog="Example: modelwright environments list")
@json_option
def list_built(as_json: bool) -> None:
    """List the environments that are built, the last used first."""
    from modelwright import wiring  # lazy: adapters

    built = wiring.environments(current_settings()).held()
    if as_json:
        print_json([_json(one) for one in built])
        return
    empty = "No environments are built. `modelwright environments build PACKAGE` builds one."
    rows = [[one.digest[:12], len(one.pins), _main(one), one.bytes, moment(one.used_at)] for one in built]
    print_table("Environments", ["lock", "distributions", "among them", "bytes", "last used (UTC)"], rows, empty=empty)


@environments.command(epilog="Example: modelwright environments build churn.mw --wheelhouse wheels/")
@click.argument("subject")
@click.option("--wheelhouse", help="Folder of wheels to install from, in place of an index.")
@click.option("--trust-index", is_flag=True, help="Install what the index gives where the lock has no digest.")
@json_option
def build(subject: str, wheelhouse: str | None, trust_index: bool, as_json: bool) -> None:
    """Build the environment of SUBJECT: a package, or NAME@VERSION of a registered model.

    Only wheels are installed, and only those whose digests the lock names. Nothing of them runs.
    """
    from modelwright import wiring  # lazy: adapters

    wheels = existing(wheelhouse, "wheelhouse") if wheelhouse else None
    locked = _lock(subject)
    with working(f"Building the environment of {subject} ...", quiet=as_json) as say:
        built = wiring.environments(current_settings()).build(
            locked, wheelhouse=wheels, trust_index=trust_index, say=say
        )
    if as_json:
        print_json(_json(built))
        return
    click.echo(f"{built.digest[:12]}  {counted(len(built.pins), 'distribution')}, {counted(built.bytes, 'byte')}")


@environments.command(epilog="Example: modelwright environments remove 3f2a9c")
@click.argument("digest")
@json_option
def remove(digest: str, as_json: bool) -> None:
    """Remove one, named by the beginning of its digest. Models that need it do not start until it is built again."""
    from modelwright import wiring  # lazy: adapters

    gone = wiring.environments(current_settings()).remove(digest)
    if as_json:
        print_json(_json(gone))
        return
    click.echo(f"{gone.digest[:12]} removed, {counted(gone.bytes, 'byte')} freed")


@environments.command(epilog="Example: modelwright environments gc --days 7")
@click.option("--days", type=click.FloatRange(min=0), default=KEEP_DAYS, help="Keep what was used so many days ago.")
@json_option
def gc(days: float, as_json: bool) -> None:
    """Remove those that no registered version needs and that were not used for some days."""
    from modelwright import wiring  # lazy: adapters

    store = wiring.environments(current_settings())
    with current_platform() as platform:
        needed = wiring.environments_needed(platform)
    gone = store.sweep(lambda built: built.digest in needed or built.used_at > time.time() - days * DAY)
    if as_json:
        print_json([_json(one) for one in gone])
        return
    freed = sum(one.bytes for one in gone)
    click.echo(f"{counted(len(gone), 'environment')} removed, {counted(freed, 'byte')} freed")


def _lock(subject: str) -> tuple[Pin, ...]:
    from modelwright import wiring  # lazy: adapters

    name, _, version = subject.partition("@")
    if version and not Path(subject).exists():
        with current_platform() as platform:
            return wiring.lock_of(wiring.registered(platform, name, version))
    return wiring.lock_of(wiring.open_package(existing(subject, "package")))


def _main(built: Built) -> str:
    """The distributions that tell one environment from another at a glance."""
    known = [pin for pin in built.pins if pin.name in TELLING] or list(built.pins[:3])
    return ", ".join(f"{pin.name} {pin.version}" for pin in known)


def _json(built: Built) -> dict[str, Any]:
    return asdict(built) | {"site": str(built.site), "pins": [pin.to_row() for pin in built.pins]}
