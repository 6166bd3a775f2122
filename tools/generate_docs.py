"""Make the generated reference pages from the code itself; ``--check`` fails when one is stale.

usage: python tools/generate_docs.py [--check]
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from modelwright.interfaces.cli.app import cli
from modelwright.settings import SETTINGS

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "modelwright"
PAGES = ROOT / "docs" / "reference"
MADE = "<!-- made by tools/generate_docs.py; edit the code instead -->\n\n"


def commands_page() -> str:
    """Every command with its help, as the terminal shows it."""
    lines = [MADE + "# Commands\n"]

    def add(command: click.Command, name: str, parent: click.Context | None) -> None:
        context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
        lines.append(f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n")
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                found = command.get_command(context, child)
                assert found is not None
                add(found, child, context)

    add(cli, "modelwright", None)
    return "\n".join(lines)


def settings_page() -> str:
    """Every setting with its variable, default and meaning."""
    lines = [
        MADE + "# Settings\n",
        "Read when a process starts: from the environment, else from the [project file](project-file.md).",
        "`modelwright settings` prints the values in force.\n",
        "| setting | variable | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| `{row.name}` | `{row.variable}` | `{row.default}` | {row.help} |" for row in SETTINGS]
    return "\n".join(lines) + "\n"


def routes_page() -> str:
    """Every route of the data plane and of the control plane, with the permission it needs."""
    from modelwright.interfaces.control.app import route_table
    from modelwright.interfaces.http.routes import ROUTES

    nothing: Any = None  # the rows are data; only answering a request needs a platform
    data = [(r.method.decode(), r.pattern, r.permission, first_line(r.endpoint)) for r in ROUTES]
    control = [(r.method, r.path, r.permission, r.says) for r in route_table(nothing, nothing)]
    lines = [MADE + "# Routes\n", "A route without a row does not exist: the tables below are the routers.\n"]
    for title, rows in (("Data plane", data), ("Control plane", control)):
        lines += [f"## {title}\n", "| method | path | permission | what it does |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {method} | `{path}` | {permission or 'open'} | {says} |" for method, path, permission, says in rows
        ]
        lines.append("")
    return "\n".join(lines)


def first_line(endpoint: Callable[..., Any]) -> str:
    """The first sentence of an endpoint's docstring."""
    return (endpoint.__doc__ or "").strip().split("\n")[0].rstrip(".")


def errors_page() -> str:
    """Every error code in the sources, with its kind and what it says."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error")):
                continue
            if len(node.args) > 1 and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                says = ast.unparse(node.args[1]).strip("f'\"").replace("|", "\\|")
                found.setdefault(node.args[0].value, (node.func.id, says))
    kinds = {
        "BadInputError": "bad-input",
        "GraphError": "bad-input",
        "NotFoundError": "not-found",
        "ModelwrightError": "internal",
    }
    lines = [
        MADE + "# Error codes\n",
        "Stable: a script may match on them. The kind decides the exit code and the HTTP status.\n",
        "| code | kind | says |",
        "| --- | --- | --- |",
    ]
    for code, (kind, says) in sorted(found.items()):
        shown = kinds.get(kind, kind.removesuffix("Error").lower())
        lines.append(f"| `{code}` | {shown} | {says} |")
    return "\n".join(lines) + "\n"


PAGE_MAKERS = {
    "cli.md": commands_page,
    "settings.md": settings_page,
    "routes.md": routes_page,
    "errors.md": errors_page,
}


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, make in PAGE_MAKERS.items():
        page, text = PAGES / name, make()
        if check and (not page.exists() or page.read_text() != text):
            stale.append(name)
        elif not check:
            page.write_text(text)
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run: python tools/generate_docs.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
