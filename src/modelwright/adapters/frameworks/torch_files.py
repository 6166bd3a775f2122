"""A PyTorch model that is in memory, as a file that another process opens."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.tensor_inputs import Typed
from modelwright.adapters.frameworks.torch_export import cause, exported, quiet
from modelwright.core.errors import BadInputError
from modelwright.native.torch_model import Opened, of_module, of_program


@contextlib.contextmanager
def in_memory(model: Any) -> Iterator[Opened]:
    """A module, scripted or not, in evaluation mode until it is left; or an exported program."""
    import torch  # lazy: heavy

    if isinstance(model, torch.export.ExportedProgram):
        yield of_program(model)
        return
    training = [part for part in model.modules() if part.training]
    try:
        yield of_module(model, "script" if isinstance(model, torch.jit.ScriptModule) else "module")
    finally:
        for part in training:
            part.training = True  # train() would reach the parts that were frozen on purpose too


@contextlib.contextmanager
def saved(opened: Opened, typed: Typed, *, whole: bool) -> Iterator[Path]:
    """The model as an exported program; where that fails as TorchScript; else, or ``whole``, pickled with its class.

    Raises:
        BadInputError: ``pack.unpicklable``, ``pack.unsplittable``.
    """
    import torch  # lazy: heavy

    if whole and opened.kind != "module":
        raise unsplittable()
    with tempfile.TemporaryDirectory(prefix="modelwright-pack-") as folder:
        program, script, module = (Path(folder) / name for name in ("model.pt2", "model.ts", "model.pt"))
        if opened.kind == "program":
            torch.export.save(opened.model, program)
            yield program
        elif opened.kind == "script":
            opened.model.save(str(script))
            yield script
        elif whole:
            yield _pickled(opened.model, module)
        else:
            yield _best(opened, typed, program, script, module)


def _best(opened: Opened, typed: Typed, program: Path, script: Path, module: Path) -> Path:
    import torch  # lazy: heavy

    try:
        with quiet():
            torch.export.save(exported(opened, typed), program)
    except Exception:  # noqa: BLE001 - exporters fail in every way; the next form is tried
        program.unlink(missing_ok=True)
    else:
        return program
    try:
        with quiet():
            torch.jit.script(opened.model).save(str(script))
    except Exception:  # noqa: BLE001 - as above
        return _pickled(opened.model, module)
    return script


def _pickled(model: Any, file: Path) -> Path:
    import torch  # lazy: heavy

    if "<locals>" in type(model).__qualname__ or type(model).__module__ == "__main__":
        raise _unpicklable(model, "its class is defined in the running program, where no other process finds it")
    try:
        torch.save(model, file)
    except Exception as error:
        raise _unpicklable(model, cause(error)) from error
    return file


def _unpicklable(model: Any, why: str) -> BadInputError:
    return BadInputError(
        "pack.unpicklable",
        f"The {type(model).__name__} cannot be written to a file.",
        why=f"{why}.",
        fix="Define its class in a module that is installed, or save its weights and give the file that builds it: "
        "--option factory=FILE.py:FUNCTION.",
    )


def unsplittable() -> BadInputError:
    """The error for a model without layers that could be placed."""
    return BadInputError(
        "pack.unsplittable",
        "An exported program and TorchScript cannot be split over devices.",
        why="Their layers are no modules that could be placed.",
        fix="Give the module itself, or its weights: --option factory=FILE.py:FUNCTION.",
    )
