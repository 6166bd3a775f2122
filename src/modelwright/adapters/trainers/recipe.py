"""The user's recipe in a process of its own: what it does, prints or leaks ends with that process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from modelwright.core.errors import BadInputError, DeadlineError, RefusedError
from modelwright.ports.trainer import Recipe, Trained

RESULT = "result.json"
QUOTED_LINES = 12


class RecipeTrainer:
    """Implements :class:`~modelwright.ports.trainer.Trainer`.

    The recipe runs in its own process group, in the recipe's directory, as the user who runs modelwright. It ends with
    its time limit, and with the process that asked for it, however that one ends.
    """

    def train(self, recipe: Recipe, *, recorded: Path | None, work: Path) -> Trained:
        """Run ``load`` and ``train``; ``work`` appears with all its files at once, or not at all.

        When ``work`` already holds the result of the same request (a crash came after it), it is given again. What
        the recipe printed is kept beside ``work``, in ``<work>.log``.

        Raises:
            BadInputError: ``retrain.recipe-missing``.
            RefusedError: ``retrain.recipe-failed`` (with the last lines of its output), ``retrain.recipe-shape``.
            DeadlineError: ``retrain.recipe-timeout``.
        """
        request = _request(recipe, recorded)
        if not (found := _finished(work, request)):
            staged = work.with_name(f"{work.name}.partial")
            for leftover in (staged, work):
                shutil.rmtree(leftover, ignore_errors=True)
            staged.mkdir(mode=0o700, parents=True)
            started = time.monotonic()
            _run(recipe, request, staged, work.with_name(f"{work.name}.log"))
            result = json.loads((staged / RESULT).read_text())
            result |= {"request": request, "seconds": round(time.monotonic() - started, 3)}
            (staged / RESULT).write_text(json.dumps(result))
            staged.replace(work)
            found = result
        files = {name: work / str(found[name]) for name in ("model", "validation", "reference")}
        return Trained(**files, rows=int(found["rows"]), seconds=float(found["seconds"]))


def _request(recipe: Recipe, recorded: Path | None) -> dict[str, Any]:
    """What the child is asked, and what tells one request from another."""
    stamp = recorded.stat() if recorded else None
    return {
        "root": str(recipe.root),
        "load": recipe.load,
        "train": recipe.train,
        "target": recipe.target,
        "recorded": str(recorded) if recorded else None,
        "stamp": [stamp.st_size, stamp.st_mtime_ns] if stamp else None,
    }


def _finished(work: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    try:
        result = json.loads((work / RESULT).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a loss of power cut it short
        return None
    return result if isinstance(result, dict) and result.get("request") == request else None


def _run(recipe: Recipe, request: dict[str, Any], staged: Path, log: Path) -> None:
    command = [
        *(sys.executable, "-m", "modelwright.adapters.trainers.recipe_main"),
        *(str(os.getpid()), str(staged.absolute()), json.dumps(request)),
    ]
    if not recipe.root.is_dir():
        raise BadInputError(
            "retrain.recipe-missing", f"There is no directory {recipe.root} for the recipe.", fix="Check the path."
        )
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=recipe.root, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = child.wait(recipe.timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(
                "retrain.recipe-timeout",
                f"The recipe did not finish within {recipe.timeout_seconds:g} seconds and was stopped.",
                why=_said(log),
                fix="Make it faster, or raise recipe.timeout_seconds in modelwright.yaml.",
            ) from error
        finally:
            _end(child)
    if code == 0 and (staged / RESULT).is_file():  # a recipe may end the process itself, with any code
        return
    try:
        told = json.loads((staged / "error.json").read_text())
    except FileNotFoundError:
        ended = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        raise RefusedError(
            "retrain.recipe-failed",
            f"The recipe ended {ended}.",
            why=_said(log),
            fix="Run the recipe's functions by themselves and repair them.",
        ) from None
    kind = BadInputError if told["code"] == "retrain.recipe-missing" else RefusedError
    raise kind(told["code"], told["what"], why=told.get("why") or _said(log), fix=told["fix"])


def _end(child: subprocess.Popen[bytes]) -> None:
    """Nothing that the recipe started outlives it."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        child.wait()


def _said(log: Path) -> str:
    """The last lines of what the recipe printed."""
    with log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - 8192))
        lines = stream.read().decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-QUOTED_LINES:])
