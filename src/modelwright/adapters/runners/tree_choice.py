"""Asks a jailed process whether ONNX Runtime or the kernel runs a graph faster."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.runners.trees import kernel
from modelwright.core.errors import CorruptError, ModelwrightError, UnavailableError
from modelwright.core.kernels import KernelChoice
from modelwright.core.package_codec import kernels_from_json
from modelwright.jail import environment

SECONDS = 300.0

_logger = logging.getLogger(__name__)


def choose(name: str, graph: bytes, examples: Mapping[str, NDArray[Any]]) -> KernelChoice:
    """The choice for a graph, measured here.

    Args:
        name: the model's name, for messages.
        graph: serialized ONNX model.
        examples: feeds by input name.

    Raises:
        UnavailableError: ``pack.kernels-unmeasured``: no C compiler, no package ``onnx``, or the process failed.
    """
    with tempfile.TemporaryDirectory(prefix="modelwright-kernels-") as place:
        try:
            file = kernel.make(Path(place) / "kernels")
        except kernel.NoKernelError as error:
            raise _unmeasured(name, str(error)) from error
        scratch = Path(place) / "scratch"
        scratch.mkdir(mode=0o700)
        (scratch / "model.onnx").write_bytes(graph)
        plain = {key: tensor for key, tensor in examples.items() if tensor.dtype != object}
        np.savez(scratch / "examples.npz", allow_pickle=False, **plain)
        try:
            return kernels_from_json(_asked(name, scratch, file))
        except CorruptError as error:
            raise _unmeasured(name, str(error)) from error


def choose_where_possible(name: str, graph: bytes, examples: Mapping[str, NDArray[Any]]) -> KernelChoice | None:
    """As :func:`choose`; None, and a line in the log, where it cannot be measured."""
    try:
        return choose(name, graph, examples)
    except ModelwrightError as error:
        _logger.warning("kernels are not measured", extra={"model": name, "why": str(error)})
        return None


def _asked(name: str, scratch: Path, file: Path) -> bytes:
    module = "modelwright.adapters.runners.tree_measuring"
    command = [sys.executable, "-I", "-B", "-m", module, str(scratch), str(file), str(os.getpid())]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=scratch,
            env=environment(scratch),
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _unmeasured(name, str(error)) from error
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        raise _unmeasured(name, "".join(x for x in last[:300] if x.isprintable()) or f"status {done.returncode}")
    return done.stdout


def _unmeasured(name: str, why: str) -> UnavailableError:
    return UnavailableError(
        "pack.kernels-unmeasured",
        f"It cannot be measured here what runs {name!r} fastest.",
        why=f"{why[:1].upper()}{why[1:].rstrip('.')}.",
        fix="Install a C compiler and 'modelwright[kernels]', or pack without --kernels.",
    )
