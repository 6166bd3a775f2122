"""The jailed process that measures one graph: ONNX Runtime beside the kernel, and the choice on standard output.

``python -I -B -m modelwright.adapters.runners.tree_measuring SCRATCH KERNEL PARENT``; SCRATCH holds ``model.onnx`` and
``examples.npz``, KERNEL is the compiled kernel's file. Both are data and code of ours; the jail is for the libraries
that read a graph from somebody else.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from modelwright.adapters.runners.onnx import OnnxRunner
from modelwright.adapters.runners.sessions import CPU_ONLY, Sessions, open_session
from modelwright.adapters.runners.trees import ensemble, kernel
from modelwright.adapters.runners.trees.extract import UnknownFormError, extract
from modelwright.adapters.runners.trees.proof import faster_from, proof_rows, require_same_bits, timings
from modelwright.adapters.runners.trees.runner import TreeRunner
from modelwright.core.kernels import KernelChoice
from modelwright.core.package_codec import kernels_json
from modelwright.jail import Confinement, enter, tie_to_parent

MEMORY_BYTES, SCRATCH_BYTES = 16 * 2**30, 2**20
CPU_SECONDS = 240
SIZES, ROUNDS = (1, 4, 16, 64, 256, 1000), 15

Examples = Mapping[str, NDArray[Any]]


def measure(graph: bytes, library: ctypes.CDLL, examples: Examples) -> KernelChoice:
    """The choice for a graph; ``machine`` and ``isolation`` are left empty.

    Args:
        graph: serialized ONNX model.
        library: the kernel.
        examples: feeds by input name, for which both must give the same bits as well.
    """
    try:
        # Through its bytes, because what cannot be read back is no ensemble that a walk cannot leave.
        trees = ensemble.read(ensemble.write(extract(onnx.load_from_string(graph).graph)))
    except (UnknownFormError, KeyError, IndexError, ValueError) as error:
        return KernelChoice("onnxruntime", 0, str(error))
    sessions = Sessions(CPU_ONLY, memory_bytes=0, available=(), opener=open_session)
    theirs = OnnxRunner("measured", *sessions.open(graph, name="measured", threads=1))
    ours, rows = TreeRunner(theirs, trees, library), proof_rows(trees)
    try:
        same = sum(require_same_bits(ours, theirs, trees.input, some) for some in (rows, *_of(examples, trees.input)))
    except kernel.NoKernelError as error:
        return KernelChoice("onnxruntime", 0, str(error))
    measured = tuple(timings(ours, theirs, trees.input, rows, sizes=SIZES, rounds=ROUNDS))
    try:
        least = faster_from(measured)
    except kernel.NoKernelError as error:
        return KernelChoice("onnxruntime", 0, str(error), same, measured[::-1])
    return KernelChoice("trees", least, f"faster from {least} rows on", same, measured[::-1])


def _of(examples: Examples, name: str) -> tuple[NDArray[Any], ...]:
    return (examples[name],) if name in examples and len(examples[name]) else ()


def main(arguments: list[str]) -> int:
    """Measure what SCRATCH holds."""
    scratch, file, parent = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    tie_to_parent(parent)
    graph = (scratch / "model.onnx").read_bytes()
    with np.load(scratch / "examples.npz", allow_pickle=False) as held:
        examples = {name: held[name] for name in held.files}
    library = kernel.opened(file)
    held_by = enter(
        Confinement(
            scratch,
            "strict",
            memory_bytes=MEMORY_BYTES,
            cpu_seconds=CPU_SECONDS,
            file_bytes=SCRATCH_BYTES,
            scratch_bytes=SCRATCH_BYTES,
        )
    )
    choice = measure(graph, library, examples)
    sys.stdout.buffer.write(kernels_json(replace(choice, machine=machine(), isolation=held_by.level)))
    return 0


def machine() -> str:
    """The processor's name, where the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
