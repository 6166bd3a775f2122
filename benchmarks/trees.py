"""Ensembles of trees by ONNX Runtime and by the compiled kernel, at 1 to 1,000 rows, other rows on every call.

    python benchmarks/trees.py

Both give the same bits, or the benchmark ends. One core; needs a C compiler.
"""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from skl2onnx import to_onnx
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier

from kit.figures import machine, ratio, row, two_cores
from modelwright.adapters.runners.onnx import OnnxRunner
from modelwright.adapters.runners.sessions import CPU_ONLY, Sessions, open_session
from modelwright.adapters.runners.trees import kernel
from modelwright.adapters.runners.trees.extract import extract
from modelwright.adapters.runners.trees.runner import TreeRunner

ROUNDS, CALLS, ROWS = 7, 10, (1, 16, 100, 1000)
MODELS = (
    HistGradientBoostingClassifier(max_iter=100, random_state=0),
    GradientBoostingClassifier(n_estimators=100, random_state=0),
    RandomForestClassifier(100, random_state=0),
)


def microseconds(run: Callable[[dict[str, Any]], Any], feeds: Iterator[dict[str, Any]]) -> float:
    """Of one call."""
    some = list(itertools.islice(feeds, CALLS))
    began = time.perf_counter()
    for one in some:
        run(one)
    return (time.perf_counter() - began) / CALLS * 1e6


def compare(model: Any, rows: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    model.fit(rows[:5000], labels[:5000])
    options, targets = {id(model): {"zipmap": False}}, {"": 17, "ai.onnx.ml": 3}
    graph = to_onnx(model, rows[:1], options=options, target_opset=targets).SerializeToString()
    sessions = Sessions(CPU_ONLY, memory_bytes=0, available=(), opener=open_session)
    theirs = OnnxRunner("trees", *sessions.open(graph, name="trees", threads=1))
    ours = TreeRunner(theirs, extract(onnx.load_from_string(graph).graph), kernel.load(folder))
    for name, tensor in theirs.run({"X": rows}).items():
        if ours.run({"X": rows})[name].tobytes() != tensor.tobytes():
            raise SystemExit(f"{type(model).__name__}: {name} differs")
    for count in ROWS:
        feeds = itertools.cycle([{"X": rows[at : at + count]} for at in range(0, len(rows) - count + 1, count)])
        figures: dict[str, list[float]] = {"ONNX Runtime": [], "kernel": []}
        for _ in range(ROUNDS):
            figures["ONNX Runtime"].append(microseconds(theirs.run, feeds))
            figures["kernel"].append(microseconds(ours.run, feeds))
        for name, taken in figures.items():
            note = f"{ratio(taken, figures['ONNX Runtime'])} ONNX Runtime"
            row(f"{type(model).__name__}, {count} rows: {name}", taken, "us", note=note)


def main() -> None:
    machine()
    os.sched_setaffinity(0, {two_cores()[0]})
    rows, labels = make_classification(20_000, 30, n_informative=15, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            compare(model, rows.astype(np.float32), labels, Path(folder) / "kernels")


if __name__ == "__main__":
    main()
