"""What packing and loading a large ONNX model costs in memory, as multiples of its size.

``python benchmarks/large_models.py --megabytes 400 --rounds 3 [--json]``. Each step runs in a process of its own; its
figure is the peak resident memory (VmHWM, mapped files counted) above that of the same process before the step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

WIDTH = 1024


def make(path: Path, megabytes: int, *, beside: bool) -> None:
    """A chain of matrix products of that many MiB, its tensors in the file or beside it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng, nodes, tensors, last = np.random.default_rng(0), [], [], "x"
    for layer in range(max(megabytes * 2**20 // (WIDTH * WIDTH * 4), 1)):
        weights = rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) / 32
        tensors.append(numpy_helper.from_array(weights, f"w{layer}"))
        nodes += [
            helper.make_node("MatMul", [last, f"w{layer}"], [f"h{layer}"]),
            helper.make_node("Tanh", [f"h{layer}"], [f"t{layer}"]),
        ]
        last = f"t{layer}"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path, save_as_external_data=beside)


def peak_bytes() -> int:
    """The most memory that this process has had in RAM (``ru_maxrss`` would begin with that of its parent)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def _pack(folder: Path) -> None:
    import modelwright

    modelwright.pack(folder / "large.onnx", name="large").save(folder / "large.mw")


def _store(folder: Path) -> None:
    from modelwright import wiring
    from modelwright.adapters.stores.local_blobs import LocalBlobs
    from modelwright.core import package_codec

    digest = package_codec.store(wiring.open_package(folder / "large.mw"), LocalBlobs(folder / "blobs").put)
    (folder / "digest").write_text(digest)


def _load(folder: Path) -> None:
    from modelwright import wiring

    _answer(wiring.open_package(folder / "large.mw"))


def _serve(folder: Path) -> None:
    from modelwright.adapters.stores.local_blobs import LocalBlobs
    from modelwright.core import package_codec

    _answer(package_codec.load((folder / "digest").read_text(), LocalBlobs(folder / "blobs").get))


def _answer(package: object) -> None:
    from modelwright import wiring

    runner = wiring.runners().load(package)  # type: ignore[arg-type]
    assert runner.run({"x": np.ones((2, WIDTH), np.float32)})["y"].shape == (2, WIDTH)


STEPS: dict[str, Callable[[Path], None]] = {"pack": _pack, "store": _store, "load": _load, "load from store": _serve}


def step(name: str, folder: Path) -> int:
    """Run one step here; the bytes by which it raised the peak above what a tiny model needs."""
    with tempfile.TemporaryDirectory() as warm:
        make(Path(warm) / "large.onnx", 4, beside=False)
        for each in STEPS.values():
            each(Path(warm))
    before = peak_bytes()
    STEPS[name](folder)
    return peak_bytes() - before


def measured(name: str, folder: Path) -> int:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--step", choices=list(STEPS))
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.step:
        print(step(asked.step, asked.folder))
        return 0
    rows = []
    for beside in (False, True):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            make(folder / "large.onnx", asked.megabytes, beside=beside)
            size = sum(file.stat().st_size for file in folder.iterdir())
            for name in STEPS:
                ratios = [measured(name, folder) / size for _ in range(asked.rounds)]
                rows.append({"tensors": "beside the graph" if beside else "in the graph", "step": name}
                    | {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)})  # fmt: skip
    body = {"megabytes": asked.megabytes, "rounds": asked.rounds, "cores": os.cpu_count(),
            "machine": platform.processor() or platform.machine(), "rows": rows}  # fmt: skip
    if asked.json:
        print(json.dumps(body, indent=2))
        return 0
    for row in rows:
        print(f"{row['tensors']:17} {row['step']:16} {row['median']:.2f} x  ({row['least']:.2f} to {row['most']:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
