"""The recipe's own process: ``recipe_main PARENT OUT REQUEST`` calls the user's ``load`` and ``train``.

It writes ``model.joblib``, ``validation.parquet``, ``reference.parquet``, ``result.json`` into OUT; or ``error.json``
(exit code 3) when the recipe itself is wrong. An exception in the recipe ends it with a traceback, as in a script.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PR_SET_PDEATHSIG = 1
HELD_OUT = 0.2


class RecipeError(Exception):
    """The recipe cannot be used: ``code``, what, why, fix."""

    def __init__(self, code: str, what: str, *, why: str = "", fix: str) -> None:
        super().__init__(what)
        self.body = {"code": code, "what": what, "why": why, "fix": fix}


def main(parent: int, out: Path, request: dict[str, Any]) -> None:
    """Run the recipe of the request."""
    die_with(parent)
    # Threads that spin while they wait turn seconds into a minute on a machine that serves at the same time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    root = Path(request["root"])
    sys.path.insert(0, str(root))
    load, train = function(root, request["load"]), function(root, request["train"])
    recorded = request["recorded"]
    rows, truth, held_rows, held_truth = parts(load(Path(recorded) if recorded else None))
    model = train(rows, truth)
    if model is None:
        raise RecipeError(
            "retrain.recipe-shape", f"{request['train']} returned nothing.", fix="Return the fitted model."
        )
    write(rows, truth, request["target"], out / "reference.parquet")
    write(held_rows, held_truth, request["target"], out / "validation.parquet")
    dump(model, out / "model.joblib")
    result = {
        "model": "model.joblib",
        "validation": "validation.parquet",
        "reference": "reference.parquet",
        "rows": len(truth),
    }
    (out / "result.json").write_text(json.dumps(result))


def die_with(parent: int) -> None:
    """Have the kernel end this process when the one that asked for it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request reached the kernel
        os._exit(1)


def function(root: Path, name: str) -> Callable[..., Any]:
    """The callable ``file.py:function``.

    Raises:
        RecipeError: ``retrain.recipe-missing``.
    """
    file, _, attribute = name.partition(":")
    path = root / file
    if not attribute or not path.is_file():
        raise RecipeError(
            "retrain.recipe-missing",
            f"There is no recipe {name!r} in {root}.",
            fix="Write FILE.py:FUNCTION, relative to the project file.",
        )
    held = sys.modules.get(path.stem)
    if held is None or getattr(held, "__file__", None) != str(path):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        held = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = held  # so that what the model pickles can name its module
        spec.loader.exec_module(held)
    found = getattr(held, attribute, None)
    if not callable(found):
        raise RecipeError(
            "retrain.recipe-missing", f"{file} has no function {attribute!r}.", fix="Check the project file."
        )
    return found  # type: ignore[no-any-return]  # callable() was asked


def parts(loaded: object) -> tuple[Any, Any, Any, Any]:
    """``(X, y, X_validation, y_validation)``; where only (X, y) came, the last 20 % of the rows are held out.

    Raises:
        RecipeError: ``retrain.recipe-shape``.
    """
    if not isinstance(loaded, tuple) or len(loaded) not in {2, 4}:
        raise RecipeError(
            "retrain.recipe-shape",
            f"load returned {type(loaded).__name__}{f' of {len(loaded)} values' if isinstance(loaded, tuple) else ''}.",
            fix="Return (X, y) or (X, y, X_validation, y_validation).",
        )
    for rows, truth in zip(loaded[::2], loaded[1::2], strict=True):
        if len(rows) != len(truth) or len(rows) < 2:
            raise RecipeError(
                "retrain.recipe-shape",
                f"load returned {len(rows)} rows and {len(truth)} labels.",
                fix="Return one label per row, and two rows at least.",
            )
    if len(loaded) == 4:
        return loaded
    rows, truth = loaded
    kept = len(truth) - max(1, round(len(truth) * HELD_OUT))
    return head(rows, kept), head(truth, kept), tail(rows, kept), tail(truth, kept)


def head(rows: Any, count: int) -> Any:
    """The first rows, of a frame or an array."""
    return rows.iloc[:count] if hasattr(rows, "iloc") else np.asarray(rows)[:count]


def tail(rows: Any, count: int) -> Any:
    """The rows after the first ``count``."""
    return rows.iloc[count:] if hasattr(rows, "iloc") else np.asarray(rows)[count:]


def write(rows: Any, truth: Any, target: str, path: Path) -> None:
    """Rows and labels as Parquet.

    Raises:
        RecipeError: ``retrain.recipe-shape`` when the rows have the target among them.
    """
    import duckdb  # lazy: after the recipe was found, so that a wrong name is told at once

    connection = duckdb.connect()
    labels = np.asarray(truth).reshape(-1)
    if hasattr(rows, "iloc"):
        frame = rows.reset_index(drop=True).rename(columns=str)
        names = list(frame.columns)
    else:
        matrix = np.asarray(rows).reshape(len(rows), -1)
        names = [f"x{index}" for index in range(matrix.shape[1])]
    if target in names:
        raise RecipeError(
            "retrain.recipe-shape", f"X has the target column {target!r}.", fix="Leave the target out of X."
        )
    if hasattr(rows, "iloc"):
        relation = connection.from_df(frame.assign(**{target: labels}))
    else:
        columns = dict(zip(names, np.ascontiguousarray(matrix.T), strict=True)) | {target: labels}
        relation = connection.register("labelled", columns).sql("SELECT * FROM labelled")
    relation.write_parquet(str(path))


def dump(model: object, path: Path) -> None:
    """The model as the command line takes it."""
    import joblib  # lazy: comes with scikit-learn, not with the core

    joblib.dump(model, path)


if __name__ == "__main__":
    directory = Path(sys.argv[2])
    try:
        main(int(sys.argv[1]), directory, json.loads(sys.argv[3]))
    except RecipeError as wrong:
        (directory / "error.json").write_text(json.dumps(wrong.body))
        sys.exit(3)
