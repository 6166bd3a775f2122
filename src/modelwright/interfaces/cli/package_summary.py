"""What a package is: for a person, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modelwright.interfaces.cli.output import counted, print_table

if TYPE_CHECKING:
    from modelwright.core.graph import Graph
    from modelwright.core.kernels import KernelChoice
    from modelwright.core.package import Adversarial, Package

NO_JAIL = "its code may do whatever the account may that serves it; bringing it in needs the permission unjail"


def summary(package: Package) -> dict[str, Any]:
    """What a package is, as JSON."""
    from dataclasses import asdict  # lazy

    from modelwright.core.unjailed import unjailed  # lazy: NumPy

    return {
        "name": package.name,
        "digest": package.digest,
        "description": asdict(package.description),
        "signature": asdict(package.signature),
        "native": asdict(package.native) if package.native else None,
        "unjailed": list(unjailed(package)),
        "environment": _environment(package),
        "parity": asdict(package.parity) if package.parity else None,
        "graph": asdict(package.graph) if package.graph else None,
        "kernels": asdict(package.kernels) if package.kernels else None,
        "files": {name: asdict(entry) for name, entry in package.manifest.files.items()},
    }


def show_summary(package: Package, where: str, signed: str = "") -> None:
    """What a package is, for a person."""
    made = package.description
    click.echo(f"{click.style(package.name, bold=True)}  {where}")
    click.echo(f"  digest   {package.digest}")
    if signed:
        click.echo(f"  signed   {signed}")
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
        if native.isolation == "off":
            click.secho(f"           {NO_JAIL}", fg="red")
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
        if parity.adversarial is not None:
            _show_beyond(parity.adversarial)
    if made.notes.get("precision"):
        click.echo(f"  numbers  {made.notes['precision']}")
    if package.kernels is not None:
        click.echo(f"  kernel   {_kernel_in_words(package.kernels)}")
    click.echo()
    if package.graph is not None:
        _show_graph(package, package.graph)
    if package.kernels is not None and package.kernels.timings:
        timings = [[each.rows, each.onnxruntime, each.trees] for each in package.kernels.timings]
        print_table(f"A run in microseconds ({package.kernels.machine})", ["rows", "ONNX Runtime", "trees"], timings)
        click.echo()
    tensors = [["in", t.name, t.datatype, list(t.shape)] for t in package.signature.inputs]
    tensors += [["out", t.name, t.datatype, list(t.shape)] for t in package.signature.outputs]
    print_table("Signature", ["", "tensor", "datatype", "shape"], tensors)
    click.echo()
    print_table(
        "Files", ["file", "bytes", "sha256"], [[n, e.size, e.sha256[:16]] for n, e in package.manifest.files.items()]
    )


def _kernel_in_words(choice: KernelChoice) -> str:
    """What was measured to run the graph fastest."""
    if choice.chosen == "onnxruntime":
        return f"ONNX Runtime: {choice.why}"
    rows = counted(choice.from_rows, "row")
    return f"compiled trees from {rows} on, where they gave the same bits for {choice.same_bits:,} rows"


def _show_beyond(made: Adversarial) -> None:
    """What came of rows that were made from the signature, with the worst of those that differ."""
    click.echo(f"  beyond   {made.words}")
    for one in made.worst:
        kind = "" if one.get("binds") else " (reported only)"
        click.echo(
            f"           {one.get('row')}{kind}: the original {one.get('original')}, here {one.get('converted')}"
        )


def _show_graph(package: Package, graph: Graph) -> None:
    """The nodes, from the one that answers downwards."""
    from modelwright.core.unjailed import unjailed  # lazy: NumPy

    if members := unjailed(package):
        click.secho(f"  jail     off for {', '.join(members)}: {NO_JAIL}", fg="red")
    rows = [[name, graph.nodes[name].kind, graph.nodes[name].says] for name in graph.under(graph.answer)]
    rows += [[name, node.kind, node.says] for name, node in graph.nodes.items() if name not in {row[0] for row in rows}]
    print_table(f"Graph: {graph.answer} answers", ["node", "kind", "what it does"], rows)
    click.echo()


def _environment(package: Package) -> tuple[dict[str, str], ...]:
    """Name, version and digest of the distributions that the model came from."""
    from modelwright.core import package_codec as codec  # lazy: NumPy

    known = codec.ENVIRONMENT in package.manifest.files
    return codec.environment_from_json(package.read(codec.ENVIRONMENT)) if known else ()
