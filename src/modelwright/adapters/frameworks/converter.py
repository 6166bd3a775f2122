"""The jailed process that opens one model, converts it or asks it, and writes the result as plain files.

``python -I -m modelwright.adapters.frameworks.converter SCRATCH MODEL PARENT_PID``; SCRATCH holds ``request.json``.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks import exchange
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.record_codec import from_json, parse_json
from modelwright.core.table import Table
from modelwright.jail import Confinement, enter, tie_to_parent
from modelwright.ports.framework import Conversion


def main(arguments: list[str]) -> int:
    """Convert; 0 when a result (a conversion or an error in words) was written."""
    scratch, model, parent = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    tie_to_parent(parent)
    limits = from_json(dict[str, Any], parse_json((scratch / "request.json").read_bytes(), "request"), "request")
    if model.suffix.lower() != ".py":
        _import_trusted()
    held = enter(
        Confinement(
            scratch,
            "standard",
            memory_bytes=int(limits["memory_bytes"]),
            cpu_seconds=int(limits["cpu_seconds"]),
            file_bytes=int(limits["file_bytes"]),
        )
    )
    level = "; ".join((held.level, "own process", *held.parts))
    try:
        exchange.write_conversion(scratch, _convert(scratch, model, limits, level))
    except ModelwrightError as error:
        exchange.write_error(scratch, error)
    return 0


def _import_trusted() -> None:
    """Load what conversion needs before the jail closes: nothing of it has to be found from inside."""
    import joblib  # noqa: F401 - loaded for those who import it later
    import onnxruntime
    import pandas as pd  # noqa: F401
    import skl2onnx  # noqa: F401

    from modelwright.adapters.frameworks import sklearn_convert  # noqa: F401

    onnxruntime.disable_telemetry_events()


def _convert(scratch: Path, path: Path, request: dict[str, Any], level: str) -> Conversion:
    rows, target = scratch / "rows.npz", str(request["target"])
    examples = exchange.read_table(rows) if rows.is_file() else None
    if path.suffix.lower() == ".py":
        from modelwright.adapters.frameworks.python_native import convert_python  # lazy: after the parent is watched

        conversion = convert_python(path, examples, target=target)
        return replace(conversion, notes=conversion.notes | {"isolation": level})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = _open(path, level)
    conversion = _on_route(model, path, examples, target, str(request["route"]), str(request["why"]))
    notes = {"isolation": level}
    said = [str(warning.message).split(".")[0] for warning in caught if "Version" in warning.category.__name__]
    if said:
        notes["versions"] = said[0]
    return replace(conversion, notes=conversion.notes | notes)


def _on_route(model: Any, path: Path, examples: Table | None, target: str, route: str, why: str) -> Conversion:
    from modelwright.adapters.frameworks.sklearn import ASKED, NO_ONNX, because  # lazy: as above
    from modelwright.adapters.frameworks.sklearn_convert import convert
    from modelwright.adapters.frameworks.sklearn_native import convert_native

    if route != "native":
        try:
            return convert(model, examples, target=target)
        except ModelwrightError as error:
            if route == "onnx" or error.code not in NO_ONNX:
                raise
            why = because(error)
    return convert_native(model, path, examples, target=target, why=why or ASKED)


def _open(path: Path, level: str) -> Any:
    import joblib  # lazy: as above

    try:
        return joblib.load(path)
    except ModuleNotFoundError as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{path.name!r} needs the module {error.name!r}, which is not installed here.",
            why="The model was saved where that module was.",
            fix="Install the module beside modelwright, or pack the model in the program that trained it.",
        ) from error
    except PermissionError as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{path.name!r} tried what the jail refuses when it was opened.",
            why=f"{error}. In force: {level}.",
            fix="Do not use this file unless you know what it does.",
        ) from error
    except BaseException as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{path.name!r} cannot be opened as a pickled model.",
            why=f"{type(error).__name__}: {str(error)[:300] or 'the file ends too early'}.",
            fix="Save the model with joblib.dump, by the same versions of its libraries.",
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
