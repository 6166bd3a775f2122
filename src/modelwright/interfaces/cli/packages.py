"""Commands that need no registry: pack, inspect, check."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelwright.core.errors import BadInputError
from modelwright.core.names import require_model_name
from modelwright.core.native import Isolation
from modelwright.core.signature import Action, InputPolicy
from modelwright.interfaces.cli.imports import show_imports
from modelwright.interfaces.cli.output import FINDINGS, counted, json_option, print_json, print_table, working
from modelwright.interfaces.cli.package_summary import show_summary, summary
from modelwright.interfaces.cli.session import (
    current_platform,
    current_settings,
    existing,
    existing_file,
    existing_model,
)
from modelwright.interfaces.cli.signing import made
from modelwright.interfaces.cli.slices import show_slices

if TYPE_CHECKING:
    from modelwright.core.package import Package
    from modelwright.core.trust import Signed
    from modelwright.ports.framework import Route

ACTIONS = click.Choice(["accept", "warn", "reject", "coerce"])
LEVELS = click.Choice(["strict", "standard", "off"])
CODE_BEARING = {
    ".pkl",
    ".pickle",
    ".joblib",
    ".pt",
    ".pt2",
    ".pth",
    ".ts",
    ".bin",
    ".ckpt",
    ".keras",
    ".h5",
    ".skops",
    ".npy",
    ".npz",
    ".dill",
}

GRAPH = click.option("--graph", help="Which of the graphs in modelwright.yaml; the one called --name when left out.")


@click.command(
    epilog="Example: modelwright pack model.joblib --name churn --data val.parquet --target churned -o churn.mw"
)
@click.argument("artifact")
@click.option("--name", required=True, help="Name of the model: a-z, 0-9, dot, dash, underscore.")
@GRAPH
@click.option("--data", help="Labelled rows the conversion is certified on (.parquet, .csv, .jsonl), or arrays (.npz).")
@click.option("--target", default="", help="Column of --data that holds the truth.")
@click.option("--reference", help="Training rows for the reference profile; --data when left out.")
@click.option("--out-of-range", type=ACTIONS, default="accept", help="Numbers outside what the examples showed.")
@click.option("--unseen-category", type=ACTIONS, default="accept", help="Levels that the examples did not show.")
@click.option("--row-independent", is_flag=True, help="Rows of this ONNX file stand alone: requests may run together.")
@click.option("--native", "route", flag_value="native", help="Run the model as code in a jail; do not convert it.")
@click.option("--onnx", "route", flag_value="onnx", help="Convert to ONNX or refuse. Neither: convert where possible.")
@click.option("--isolation", type=LEVELS, default="strict", help="Jail of a model that runs as code.")
@click.option("--not-idempotent", is_flag=True, help="Never run a request again whose process died.")
@click.option("--option", "options", multiple=True, help="NAME=VALUE for the framework; may be repeated.")
@click.option("--kernels", is_flag=True, help="Measure what runs its trees fastest, and keep that in the package.")
@click.option("--evidence", help="What people say for the card (.yaml): purpose, owner, license, data, limits, ...")
@click.option("--requirements", help="The model's own libraries: it is opened, packed and served with these.")
@click.option("--lock-hashes", is_flag=True, help="Ask the package index for digests of the wheels in the lock.")
@click.option("--wheelhouse", help="Folder of wheels to use in place of an index.")
@click.option("--explain", is_flag=True, help="Say how it would run, and why; write nothing.")
@click.option("--sign", is_flag=True, help="Sign the package with --key, or with the setting signing_key.")
@click.option("--key", help="PEM file of the private key to sign with.")
@click.option("--output", "-o", help="Package to write; NAME.mw when left out. A path without .mw is a directory.")
@json_option
def pack(
    artifact: str,
    name: str,
    graph: str | None,
    data: str | None,
    target: str,
    reference: str | None,
    out_of_range: Action,
    unseen_category: Action,
    row_independent: bool,
    route: Route | None,
    isolation: Isolation,
    not_idempotent: bool,
    options: tuple[str, ...],
    kernels: bool,
    evidence: str | None,
    requirements: str | None,
    lock_hashes: bool,
    wheelhouse: str | None,
    explain: bool,
    sign: bool,
    key: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Pack a model file, or several that answer as one, into a portable, verifiable package.

    A .joblib or .pkl file is opened only in a jailed process. It is converted to ONNX where that works and gives
    the same answers; else it is packed as it is, to run in a jailed process. A .py file that defines
    predict(inputs) always does. An .onnx file is packed as it is. Of MLflow it takes model directories, and
    models:/NAME/VERSION and runs:/RUN/PATH where MLflow is installed (MLFLOW_TRACKING_URI says where they are). Several
    models that answer as one are declared in a file that ends in .graph.yaml, or by name in the section `graphs` of
    modelwright.yaml.
    """
    from modelwright import wiring  # lazy: adapters
    from modelwright.lifecycle import local  # lazy: statistics

    require_model_name(name)
    if requirements and route == "onnx":
        raise BadInputError(
            "pack.route-conflict",
            "A model with libraries of its own is packed as code.",
            why="--requirements and --onnx were both given.",
            fix="Leave one of them out.",
        )
    wheels = existing(wheelhouse, "wheelhouse") if wheelhouse else None
    with working(f"Packing {artifact} ...", quiet=as_json), wiring.local_model(artifact) as model:
        wanted = existing_file(requirements, "requirements file") if requirements else None
        locked = wiring.resolve(wanted, wheels) if wanted else ()
        site = wiring.environments(current_settings()).build(locked, wheelhouse=wheels).site if wanted else None
        package = local.pack_file(
            wiring.workbench(current_settings(), kernels=kernels),
            existing_model(model, graph=graph or name),
            name=name,
            data=existing_file(data, "data file") if data else None,
            target=target,
            reference=existing_file(reference, "data file") if reference else None,
            policy=InputPolicy(out_of_range, unseen_category),
            row_independent=row_independent,
            route="native" if wanted else route or "auto",
            isolation=isolation,
            idempotent=not not_idempotent,
            options=named_options(options),
            evidence=existing_file(evidence, "evidence file") if evidence else None,
            site=site,
            locking=wiring.locking(wanted, locked, hashes=lock_hashes, wheelhouse=wheels),
        )
        path = Path(output or f"{name}.mw")
    if sign or key:
        package = replace(package, bundle=made(package, key))
    if not explain:
        with working(f"Writing {path} ...", quiet=as_json):
            wiring.save_package(package, path)
    if as_json:
        print_json({"path": None if explain else str(path)} | summary(package))
        return
    show_summary(package, "not written (--explain)" if explain else str(path))


def named_options(said: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE`` words by name.

    Raises:
        BadInputError: ``cli.bad-option``.
    """
    found = {}
    for word in said:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise BadInputError(
                "cli.bad-option", f"{word!r} is not NAME=VALUE.", fix="Write it as --option device=cpu, for example."
            )
        found[name] = value
    return found


def named_numbers(said: tuple[str, ...]) -> dict[str, float]:
    """``METRIC=NUMBER`` words by metric.

    Raises:
        BadInputError: ``cli.bad-option``.
    """
    found = {}
    for name, word in named_options(said).items():
        try:
            found[name] = float(word)
        except ValueError:
            raise BadInputError(
                "cli.bad-option", f"{name}={word} is not METRIC=NUMBER.", fix="Write it as accuracy=0.05, for example."
            ) from None
    return found


@click.command(epilog="Example: modelwright inspect flight-delay.mw")
@click.argument("package")
@json_option
def inspect(package: str, as_json: bool) -> int:
    """Show what a package holds: signature, certificate, files. Runs no code from it.

    Of a model's file (.pkl, .joblib, .pt, .npy, .keras ...) it lists what opening it would import; exit code 3 when
    something dangerous is among it, or when a part cannot be read. That is advice: no such list makes a file safe.
    """
    from modelwright import wiring  # lazy: adapters

    path = existing(package, "package")
    if path.is_file() and path.suffix.lower() in CODE_BEARING:
        return show_imports(wiring.look_into(existing_file(package, "model file")), package, as_json=as_json)
    opened = wiring.open_package(path)
    for name in opened.manifest.files:
        opened.content(name)  # every byte is checked against its digest
    signed = _signed(opened)
    if as_json:
        print_json(summary(opened) | {"signed": asdict(signed)})
    else:
        show_summary(opened, package, signed.words)
    return 0


@click.command(epilog="Example: modelwright check flight-delay.mw --data validation.parquet --target late")
@click.argument("package")
@click.option("--data", required=True, help="Labelled rows (.parquet, .csv, .jsonl).")
@click.option("--target", required=True, help="Column that holds the truth.")
@click.option("--against", help="Another package to compare with on the same rows.")
@click.option("--slice", "slices", multiple=True, help="Column of --data to measure by its values; may be repeated.")
@click.option("--max-slice-gap", "allowed", multiple=True, help="METRIC=VALUE: how much worse a group may be.")
@json_option
def check(
    package: str,
    data: str,
    target: str,
    against: str | None,
    slices: tuple[str, ...],
    allowed: tuple[str, ...],
    as_json: bool,
) -> int:
    """Judge a package on labelled rows: metrics with intervals, and gates. Exit code 3 when a gate says no.

    --slice measures it again for each value of a column (of a number: five ranges), whether the model uses the column
    or not, with the gap of each group to the rest and, for a classifier, the rates by group. No gate looks at that,
    unless --max-slice-gap asks for it.
    """
    if allowed and not slices:
        raise click.UsageError("--max-slice-gap needs --slice.")
    from modelwright import wiring  # lazy: adapters
    from modelwright.lifecycle import local  # lazy: statistics

    with working("Checking ...", quiet=as_json):
        verdict = local.check_files(
            wiring.workbench(),
            wiring.open_package(existing(package, "package")),
            existing_file(data, "data file"),
            target=target,
            against=wiring.open_package(existing(against, "package")) if against else None,
            slices=slices,
            max_slice_gap=named_numbers(allowed),
        )
    if as_json:
        print_json(verdict)
    else:
        show_verdict(verdict)
    return 0 if verdict["passed"] else FINDINGS


def show_verdict(verdict: dict[str, Any]) -> None:
    """Metrics and gates as two tables and a last line."""
    print_table(
        f"On {counted(verdict['rows'], 'labelled row')} (95 % interval)",
        ["metric", "value", "low", "high"],
        [[m["name"], m["value"], m["low"], m["high"]] for m in verdict["metrics"]],
    )
    show_slices(verdict.get("slices", ()))
    click.echo()
    print_table(
        "Gates",
        ["", "gate", "figure", "allowed", "why"],
        [
            ["pass" if g["passed"] else "STOP", g["name"], g["figure"], g["threshold"], g["why"]]
            for g in verdict["gates"]
        ],
    )
    click.echo()
    for gate in verdict["gates"]:
        if not gate["passed"]:
            click.echo(f"{click.style('refused', fg='red', bold=True)} by {gate['name']}: {gate['why']}")
            if gate["fix"]:
                click.echo(f"  {click.style('fix', bold=True)}: {gate['fix']}")
    if verdict["passed"]:
        click.echo(f"{click.style('passed', fg='green', bold=True)} every gate")


def _signed(package: Package) -> Signed:
    """What the signature beside a package is worth under the keys that are trusted here; a look makes no registry."""
    import time  # lazy, with the rest: only `inspect` asks

    from modelwright.signing.check import best

    home = current_settings().home
    bundles = [package.bundle] if package.bundle is not None else []
    if not bundles or not (home / "modelwright.db").exists():
        return best(package.manifest, bundles, None, time.time())
    with current_platform() as platform:
        return best(package.manifest, bundles, platform.trust.keys(), platform.clock.now())
