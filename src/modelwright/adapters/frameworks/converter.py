"""The jailed process that opens one model, converts or asks it, and writes the result into descriptors it was given.

``python -I -m modelwright.adapters.frameworks.converter SCRATCH``; SCRATCH holds ``request.json``.
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks import exchange
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.record_codec import from_json, parse_json
from modelwright.core.table import Table
from modelwright.jail import Confinement, Held, enter, tie_to_parent
from modelwright.ports.framework import Conversion


def main(arguments: list[str]) -> int:
    """Convert; 0 when a result (a conversion or an error in words) was written."""
    scratch = Path(arguments[0])
    request = from_json(dict[str, Any], parse_json((scratch / "request.json").read_bytes(), "request"), "request")
    tie_to_parent(int(request["parent"]))
    results = {name: int(descriptor) for name, descriptor in request["results"].items()}
    rows = scratch / "rows.npz"
    examples = exchange.read_table(rows) if rows.is_file() else None
    if not _is_python(request):
        _import_trusted()
    level = _in_words(_enter(scratch, request, results))
    try:
        exchange.write_conversion(results, _convert(request, examples, level))
    except ModelwrightError as error:
        exchange.write_error(results, error)
    return 0


def _is_python(request: dict[str, Any]) -> bool:
    return str(request["name"]).lower().endswith(".py")


def _enter(scratch: Path, request: dict[str, Any], results: dict[str, int]) -> Held:
    path = Path(request["path"])
    opened_again = (path.parent if request["folder"] else path,) if request["route"] != "onnx" else ()
    return enter(
        Confinement(
            scratch,
            request["isolation"],
            memory_bytes=int(request["memory_bytes"]),
            cpu_seconds=int(request["cpu_seconds"]),
            file_bytes=int(request["file_bytes"]),
            readable=opened_again,
            keep=(int(request["model"]), *results.values()),
            scratch_bytes=int(request["scratch_bytes"]),
        )
    )


def _in_words(held: Held) -> str:
    missing = [f"missing: {', '.join(held.missing)}"] if held.missing else []
    return "; ".join(("own process", held.level, *held.parts, *missing))


def _import_trusted() -> None:
    """Load what conversion needs before the jail closes: nothing of it has to be found from inside."""
    import joblib  # noqa: F401 - loaded for those who import it later
    import onnxruntime
    import pandas as pd  # noqa: F401
    import skl2onnx  # noqa: F401

    from modelwright.adapters.frameworks import sklearn_convert  # noqa: F401

    onnxruntime.disable_telemetry_events()


def _convert(request: dict[str, Any], examples: Table | None, level: str) -> Conversion:
    path, target = Path(request["path"]), str(request["target"])
    if _is_python(request):
        from modelwright.adapters.frameworks.python_native import convert_python  # lazy: after the parent is watched

        conversion = convert_python(path, examples, target=target)
        return replace(conversion, notes=conversion.notes | {"isolation": level})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = _opened(request, level)
    conversion = _on_route(model, path, examples, target, str(request["route"]), str(request["why"]))
    notes = {"isolation": level}
    said = [str(warning.message).split(".")[0] for warning in caught if "Version" in warning.category.__name__]
    if said:
        notes["versions"] = said[0]
    return replace(conversion, notes=conversion.notes | notes)


def _opened(request: dict[str, Any], level: str) -> Any:
    from modelwright.adapters.frameworks.sklearn import ASKED, neither  # lazy: as above

    try:
        return _open(int(request["model"]), str(request["name"]), level)
    except ModelwrightError as error:
        raise neither(error, str(request["why"]) or ASKED) from error


def _on_route(model: Any, path: Path, examples: Table | None, target: str, route: str, why: str) -> Conversion:
    from modelwright.adapters.frameworks.sklearn import ASKED, NO_ONNX, because, neither  # lazy: as above
    from modelwright.adapters.frameworks.sklearn_convert import convert
    from modelwright.adapters.frameworks.sklearn_native import convert_native

    if route != "native":
        try:
            return convert(model, examples, target=target)
        except ModelwrightError as error:
            if route == "onnx" or error.code not in NO_ONNX:
                raise
            why = because(error)
    why = why or ASKED
    try:
        return convert_native(model, path, examples, target=target, why=why)
    except ModelwrightError as error:
        raise neither(error, why) from error


def _open(descriptor: int, name: str, level: str) -> Any:
    import joblib  # lazy: as above

    try:
        with os.fdopen(descriptor, "rb") as file:
            return joblib.load(file)
    except ModuleNotFoundError as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{name!r} needs the module {error.name!r}, which is not installed here.",
            why="The model was saved where that module was.",
            fix="Install the module beside modelwright, or pack the model in the program that trained it.",
        ) from error
    except AttributeError as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{name!r} names a class or a function that is not there.",
            why=f"{str(error).partition(' on <module')[0]}.",
            fix="Define your own classes and functions in a module that is installed, not in the program that trains.",
        ) from error
    except PermissionError as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{name!r} tried what the jail refuses when it was opened.",
            why=f"{error}. In force: {level}.",
            fix="Do not use this file unless you know what it does.",
        ) from error
    except BaseException as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{name!r} cannot be opened as a pickled model.",
            why=f"{type(error).__name__}: {str(error)[:300] or 'the file ends too early'}.",
            fix="Save the model with joblib.dump, by the same versions of its libraries.",
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
