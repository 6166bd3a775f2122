"""Run the matrix of frameworks, each heavy family in its own environment, and write its page.

usage: python tools/matrix.py [--output FILE.md] [--rounds N]
Families whose library is not in this environment run in that of ``tests/frameworks/NAME``, where there is one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "frameworks-matrix.md"
ENVIRONMENTS = {"CatBoost": "catboost", "PyTorch": "torch", "TensorFlow": "tensorflow", "MLflow": "mlflow"}

sys.path.insert(0, str(ROOT / "tests" / "frameworks"))

import environment  # noqa: E402 - found by the line above

sys.path.pop(0)  # the folders beside it are called as the libraries are that they try


from modelwright import wiring  # noqa: E402
from modelwright.core.record_codec import from_json  # noqa: E402
from modelwright.demo.matrix.catalogue import chosen  # noqa: E402
from modelwright.demo.matrix.main import status  # noqa: E402
from modelwright.demo.matrix.measure import Effort  # noqa: E402
from modelwright.demo.matrix.page import page  # noqa: E402
from modelwright.demo.matrix.result import Row  # noqa: E402


def run(python: Path | str, rounds: int, *families: str) -> dict[str, Any]:
    """What the command says under this Python, as JSON."""
    command = [python, "-m", "modelwright", "frameworks", "--matrix", "--json", "--rounds", str(rounds)]
    command += [part for name in families for part in ("--family", name)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return dict(json.loads(done.stdout))


def main() -> int:
    """Write the page; 1 where a row failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=PAGE)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    found = run(sys.executable, asked.rounds)
    rows = {key(row): row for row in found["rows"]}
    adapters = {framework.name for framework in wiring.frameworks()}
    skipped = {case.family for case in chosen(()) if case.absent and case.adapter in adapters}
    for family, name in ENVIRONMENTS.items():
        if family in skipped and name in environment.families():
            more = run(environment.install(name), asked.rounds, family)
            rows |= {key(row): row for row in more["rows"]}
            found["libraries"] |= more["libraries"]
    records = [from_json(Row, row, "row") for row in rows.values()]
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(page(records, Effort(asked.rounds), found))
    return status(records)


def key(row: dict[str, Any]) -> tuple[str, str, str]:
    """What tells a row from the others."""
    return row["family"], row["model"], row["data"]


if __name__ == "__main__":
    sys.exit(main())
