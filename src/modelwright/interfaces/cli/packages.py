"""Commands that need no registry: pack, inspect, predict, check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelwright.core.errors import BadInputError
from modelwright.core.names import require_model_name
from modelwright.core.signature import Action, InputPolicy
from modelwright.interfaces.cli.output import FINDINGS, counted, json_option, print_json, print_table, working
from modelwright.interfaces.cli.session import current_settings, existing, existing_file

if TYPE_CHECKING:
    from modelwright.core.graph import Graph
    from modelwright.core.package import Package
    from modelwright.core.table import Table
    from modelwright.ports.source import Source

ACTIONS = click.Choice(["accept", "warn", "reject", "coerce"])
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
    output: str | None,
    as_json: bool,
) -> None:
    """Pack a model file, or several that answer as one (.graph.yaml), into a portable, verifiable package.

    A .joblib or .pkl file is opened only in a jailed converter process; an .onnx file is packed as it is.
    """
    from modelwright import wiring  # lazy: adapters
    from modelwright.lifecycle import local  # lazy: statistics

    require_model_name(name)
    with working(f"Packing {artifact} ...", quiet=as_json):
        package = local.pack_file(
            wiring.workbench(current_settings()),
            existing_file(artifact, "model file"),
            name=name,
            data=existing_file(data, "data file") if data else None,
            target=target,
            reference=existing_file(reference, "data file") if reference else None,
            policy=InputPolicy(out_of_range, unseen_category),
            row_independent=row_independent,
        )
        path = Path(output or f"{name}.mw")
        wiring.save_package(package, path)
    if as_json:
        print_json({"path": str(path)} | summary(package))
        return
    show_summary(package, str(path))


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


@click.command(epilog="Example: modelwright predict flight-delay.mw @rows.csv --output answers.csv")
@click.argument("package")
@click.argument("rows")
@click.option("--output", "-o", help="Write rows and answers here (.csv, .parquet, .jsonl) instead of printing.")
@json_option
def predict(package: str, rows: str, output: str | None, as_json: bool) -> None:
    """Predict rows with a package, in this process: no server, no registry.

    ROWS is a file (.csv, .parquet, .jsonl; with or without @ before it) or a JSON object of one row. A
    package without columns takes a JSON object of tensors: '{"x": [1, 2, 3]}'.
    """
    from modelwright import wiring  # lazy: adapters
    from modelwright.core.table import Table
    from modelwright.lifecycle import local  # lazy: statistics

    bench = wiring.workbench()
    opened = wiring.open_package(existing(package, "package"))
    if opened.signature.features:
        table = _rows(rows, bench.source)
        answers = local.predict(bench, opened, table)
    else:  # a graph packed as it came has tensors and no columns
        table = Table({})
        answers = local.predict_tensors(bench, opened, _object(rows))
    if output:
        written = Table({**table.columns, **answers})
        bench.source.write(written, Path(output))
        if as_json:
            print_json({"rows": len(written), "path": output})
            return
        click.echo(f"{counted(len(written), 'row')} written to {output}", err=True)
    elif as_json:
        print_json({name: column.tolist() for name, column in answers.items()})
    else:
        count = len(next(iter(answers.values()), ()))
        shown = min(count, 50)
        columns = [column[:shown].tolist() for column in answers.values()]
        print_table("", ["row", *answers], list(zip(range(shown), *columns, strict=True)))
        if shown < count:
            click.echo(f"... and {count - shown} more; --output FILE keeps them all.", err=True)


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
    parity = package.parity
    if package.graph is not None:
        click.echo("  parity   of each model in its own package: nodes/NAME/parity.json")
    elif parity is None:
        click.echo("  parity   no certificate: the graph was packed as it came")
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


def _rows(argument: str, source: Source) -> Table:
    if not argument.lstrip().startswith(("{", "[")):
        return source.read(existing_file(argument.removeprefix("@"), "data file"))
    from modelwright.features.columns import table_of_rows  # lazy: NumPy

    return table_of_rows([_object(argument)])


def _object(argument: str) -> dict[str, Any]:
    """One row as a JSON object.

    Raises:
        BadInputError: ``predict.bad-rows``.
    """
    try:
        row = json.loads(argument)
    except json.JSONDecodeError as error:
        raise BadInputError(
            "predict.bad-rows",
            "The row is not valid JSON.",
            why=f"{error.msg} at character {error.pos + 1}.",
            fix="""Write '{"name": value, ...}' in single quotes (a file, @rows.csv, needs a package with columns).""",
        ) from error
    if not isinstance(row, dict):
        raise BadInputError(
            "predict.bad-rows",
            "One row is a JSON object of column names and values.",
            fix="""Write '{"column": value, ...}'; several rows go in a file: @rows.csv.""",
        )
    return row
