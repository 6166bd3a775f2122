"""Commands that need no registry: pack, inspect, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelwright.core.errors import BadInputError
from modelwright.core.names import require_model_name
from modelwright.core.native import Isolation
from modelwright.core.signature import Action, InputPolicy
from modelwright.interfaces.cli.output import FINDINGS, counted, json_option, print_json, print_table, working
from modelwright.interfaces.cli.session import current_settings, existing, existing_file, existing_model

if TYPE_CHECKING:
    from modelwright.core.graph import Graph
    from modelwright.core.package import Package
    from modelwright.ports.framework import Route

ACTIONS = click.Choice(["accept", "warn", "reject", "coerce"])
LEVELS = click.Choice(["strict", "standard", "off"])
CODE_BEARING = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".keras", ".h5", ".skops"}


@click.command(
    epilog="Example: modelwright pack model.joblib --name churn --data val.parquet --target churned -o churn.mw"
)
@click.argument("artifact")
@click.option("--name", required=True, help="Name of the model: a-z, 0-9, dot, dash, underscore.")
@click.option("--data", help="Labelled rows the conversion is certified on (.parquet, .csv, .jsonl).")
@click.option("--target", default="", help="Column of --data that holds the truth.")
@click.option("--reference", help="Training rows for the reference profile; --data when left out.")
@click.option("--out-of-range", type=ACTIONS, default="accept", help="Numbers outside what the examples showed.")
@click.option("--unseen-category", type=ACTIONS, default="accept", help="Levels that the examples did not show.")
@click.option("--row-independent", is_flag=True, help="Rows of this ONNX file stand alone: requests may run together.")
@click.option("--native", "route", flag_value="native", help="Run the model as code in a jail; do not convert it.")
@click.option("--onnx", "route", flag_value="onnx", help="Convert to ONNX or refuse. Neither: convert where possible.")
@click.option("--isolation", type=LEVELS, default="strict", help="Jail of a model that runs as code.")
@click.option("--not-idempotent", is_flag=True, help="Never run a request again whose process died.")
@click.option("--explain", is_flag=True, help="Say how it would run, and why; write nothing.")
@click.option("--output", "-o", help="Package to write; NAME.mw when left out. A path without .mw is a directory.")
@json_option
def pack(
    artifact: str,
    name: str,
    data: str | None,
    target: str,
    reference: str | None,
    out_of_range: Action,
    unseen_category: Action,
    row_independent: bool,
    route: Route | None,
    isolation: Isolation,
    not_idempotent: bool,
    explain: bool,
    output: str | None,
    as_json: bool,
) -> None:
    """Pack a model file, or several that answer as one (.graph.yaml), into a portable, verifiable package.

    A .joblib or .pkl file is opened only in a jailed process. It is converted to ONNX where that works and gives
    the same answers; else it is packed as it is, to run in a jailed process. A .py file that defines
    predict(inputs) always does. An .onnx file is packed as it is.
    """
    from modelwright import wiring  # lazy: adapters
    from modelwright.lifecycle import local  # lazy: statistics

    require_model_name(name)
    with working(f"Packing {artifact} ...", quiet=as_json):
        package = local.pack_file(
            wiring.workbench(current_settings()),
            existing_model(artifact),
            name=name,
            data=existing_file(data, "data file") if data else None,
            target=target,
            reference=existing_file(reference, "data file") if reference else None,
            policy=InputPolicy(out_of_range, unseen_category),
            row_independent=row_independent,
            route=route or "auto",
            isolation=isolation,
            idempotent=not not_idempotent,
        )
        path = Path(output or f"{name}.mw")
        if not explain:
            wiring.save_package(package, path)
    if as_json:
        print_json({"path": None if explain else str(path)} | summary(package))
        return
    show_summary(package, "not written (--explain)" if explain else str(path))


@click.command(epilog="Example: modelwright inspect flight-delay.mw")
@click.argument("package")
@json_option
def inspect(package: str, as_json: bool) -> None:
    """Show what a package holds: signature, certificate, files. Runs no code from it."""
    from modelwright import wiring  # lazy: adapters

    path = existing(package, "package")
    if path.suffix.lower() in CODE_BEARING:
        raise BadInputError(
            "inspect.code-bearing",
            f"{path.name} is a {path.suffix} file: reading it would run code from it.",
            why="Only packages can be inspected without running anything.",
            fix=f"modelwright pack {path.name} --name NAME --data FILE --target COLUMN (converts it in a jail)",
        )
    opened = wiring.open_package(path)
    for name in opened.manifest.files:
        opened.read(name)  # every byte is checked against its digest
    if as_json:
        print_json(summary(opened))
        return
    show_summary(opened, package)


@click.command(epilog="Example: modelwright check flight-delay.mw --data validation.parquet --target late")
@click.argument("package")
@click.option("--data", required=True, help="Labelled rows (.parquet, .csv, .jsonl).")
@click.option("--target", required=True, help="Column that holds the truth.")
@click.option("--against", help="Another package to compare with on the same rows.")
@json_option
def check(package: str, data: str, target: str, against: str | None, as_json: bool) -> int:
    """Judge a package on labelled rows: metrics with intervals, and gates. Exit code 3 when a gate says no."""
    from modelwright import wiring  # lazy: adapters
    from modelwright.lifecycle import local  # lazy: statistics

    with working("Checking ...", quiet=as_json):
        verdict = local.check_files(
            wiring.workbench(),
            wiring.open_package(existing(package, "package")),
            existing_file(data, "data file"),
            target=target,
            against=wiring.open_package(existing(against, "package")) if against else None,
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


def summary(package: Package) -> dict[str, Any]:
    """What a package is, as JSON."""
    from dataclasses import asdict  # lazy

    return {
        "name": package.name,
        "digest": package.digest,
        "description": asdict(package.description),
        "signature": asdict(package.signature),
        "native": asdict(package.native) if package.native else None,
        "environment": _environment(package),
        "parity": asdict(package.parity) if package.parity else None,
        "graph": asdict(package.graph) if package.graph else None,
        "files": {name: asdict(entry) for name, entry in package.manifest.files.items()},
    }


def show_summary(package: Package, where: str) -> None:
    """What a package is, for a person."""
    made = package.description
    click.echo(f"{click.style(package.name, bold=True)}  {where}")
    click.echo(f"  digest   {package.digest}")
    framework = f"{made.framework} {made.framework_version}".strip()
    click.echo(f"  model    {made.model_class} ({framework}), route {made.route}")
    if made.notes.get("route"):
        click.echo(f"  why      {made.notes['route']}")
    native = package.native
    if native is not None:
        again = "again" if native.idempotent else "never again"
        click.echo(f"  code     {native.file}, opened by the loader {native.loader} in a process of its own only")
        click.echo(f"  jail     {native.isolation}; a request whose process died is run {again}")
        locked = [f"{row['name']} {row['version']}" for row in _environment(package)]
        click.echo(f"  needs    Python {made.python}{''.join(f', {row}' for row in locked)}")
    parity = package.parity
    if package.graph is not None:
        click.echo("  parity   of each model in its own package: nodes/NAME/parity.json")
    elif parity is None:
        came = "the graph was packed as it came" if native is None else "there is no other model to compare it with"
        click.echo(f"  parity   no certificate: {came}")
    else:
        state = "holds" if parity.holds else "does not hold"
        click.echo(
            f"  parity   {state}: {counted(parity.rows, 'row')}, largest difference {parity.max_difference:.2g} "
            f"(allowed {parity.tolerance:.2g}), {counted(parity.label_flips, 'label flip')}"
        )
    click.echo()
    if package.graph is not None:
        _show_graph(package.graph)
    tensors = [["in", t.name, t.datatype, list(t.shape)] for t in package.signature.inputs]
    tensors += [["out", t.name, t.datatype, list(t.shape)] for t in package.signature.outputs]
    print_table("Signature", ["", "tensor", "datatype", "shape"], tensors)
    click.echo()
    print_table(
        "Files", ["file", "bytes", "sha256"], [[n, e.size, e.sha256[:16]] for n, e in package.manifest.files.items()]
    )


def _show_graph(graph: Graph) -> None:
    """The nodes, from the one that answers downwards."""
    rows = [[name, graph.nodes[name].kind, graph.nodes[name].says] for name in graph.under(graph.answer)]
    rows += [[name, node.kind, node.says] for name, node in graph.nodes.items() if name not in {row[0] for row in rows}]
    print_table(f"Graph: {graph.answer} answers", ["node", "kind", "what it does"], rows)
    click.echo()


def _environment(package: Package) -> tuple[dict[str, str], ...]:
    """Name, version and digest of the distributions that the model came from."""
    from modelwright.core import package_codec as codec  # lazy: NumPy

    known = codec.ENVIRONMENT in package.manifest.files
    return codec.environment_from_json(package.read(codec.ENVIRONMENT)) if known else ()
