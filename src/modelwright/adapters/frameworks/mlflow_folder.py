"""Packs MLflow's model directories: by the framework that takes the model's own file, else as code behind MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from modelwright.adapters.frameworks.extras import require
from modelwright.adapters.frameworks.source_digest import files_sha256
from modelwright.core.errors import BadInputError
from modelwright.core.native import Isolation
from modelwright.core.package_codec import MANIFEST, MLMODEL
from modelwright.core.table import Table
from modelwright.features.columns import table_of_rows
from modelwright.ports.framework import NO_HINTS, Conversion, Framework, Hints, Route

FUNCTION = "python_function"
_FLAVOR = "flavor"
_MAX_BYTES = 4 * 2**20
# Where a flavour keeps the model's own file: the key of its record, and what may lie below that.
_ARTIFACTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "onnx": ("data", ("",)),
    "sklearn": ("pickled_model", ("",)),
    "xgboost": ("data", ("",)),
    "lightgbm": ("data", ("",)),
    "catboost": ("data", ("",)),
    "statsmodels": ("data", ("",)),
    "pytorch": ("model_data", ("model.pt2", "model.pth", "")),
    "tensorflow": ("data", ("model.keras", "model", "")),
    "keras": ("data", ("model.keras", "")),
}


@dataclass(frozen=True, slots=True)
class Described:
    """What ``MLmodel`` says; ``columns`` of its schema, in order: none where it takes tensors or says nothing."""

    flavors: Mapping[str, Mapping[str, Any]]
    columns: tuple[str, ...]
    example: str
    origin: str


class MlflowFramework:
    """Packs folders that hold ``MLmodel``.

    Args:
        others: the frameworks that may take the file of a native flavour.
        timeout_seconds: how long the jailed process may take for one model.
    """

    name = "mlflow"

    def __init__(self, others: Sequence[Framework] = (), timeout_seconds: float = 600.0) -> None:
        self._others, self._timeout = tuple(others), timeout_seconds

    def owns(self, model: object) -> bool:
        """True for a folder with ``MLmodel`` that is no package of ours."""
        return isinstance(model, Path) and (model / MLMODEL).is_file() and not (model / MANIFEST).exists()

    def convert(
        self,
        model: object | Path,
        examples: Table | None,
        *,
        target: str = "",
        route: Route = "auto",
        isolation: Isolation = "strict",
        hints: Hints = NO_HINTS,
    ) -> Conversion:
        """Convert the model's own file where a framework takes it, else ask the ``python_function`` in a jail.

        Options: ``flavor`` names the flavour to pack; the others are those of the framework that takes the file.

        Raises:
            BadInputError: ``pack.unreadable-model``, ``pack.no-examples``, ``pack.missing-column``,
                ``pack.wrong-route``, ``pack.unknown-option``, ``pack.missing-extra``, and those of that framework.
            RefusedError: those of that framework; ``pack.native-differs``, ``pack.not-repeatable``.
        """
        assert isinstance(model, Path)
        told = described(model)
        rows = _as_described(told, examples, model) if not hints.tensors else None
        wanted = hints.options.get(_FLAVOR, "")
        rest = replace(hints, options={name: said for name, said in hints.options.items() if name != _FLAVOR})
        flavor, framework, file = self._native_flavor(model, told, wanted)
        if framework is not None:
            made = framework.convert(file, rows, target=target, route=route, isolation=isolation, hints=rest)
            why = f"MLflow's flavour {flavor} keeps {file.name}, which {framework.name} takes."
            notes = made.notes | {"route": f"{why} {made.notes.get('route', '')}".strip()}
            return replace(made, notes=notes | _origin(model, told))
        rest.require_known(self.name, (_FLAVOR,), tensors=True)
        if route == "onnx":
            raise BadInputError(
                "pack.wrong-route",
                f"{model.name} is packed as code.",
                why=_no_framework(told, wanted),
                fix="Leave --onnx out, or log the model in MLflow's flavour onnx.",
            )
        made = self._as_function(model, told, rows, rest, target, isolation, _no_framework(told, wanted))
        return replace(made, notes=made.notes | _origin(model, told))

    def _native_flavor(self, folder: Path, told: Described, wanted: str) -> tuple[str, Framework | None, Path]:
        """The flavour, the framework that takes its file, and the file; no framework where none does."""
        if wanted and wanted not in told.flavors:
            raise BadInputError(
                "pack.unknown-option",
                f"{folder.name} has no flavour {wanted!r}.",
                why=f"It has: {', '.join(told.flavors)}.",
                fix=f"Name one of them: --option {_FLAVOR}=NAME.",
            )
        for flavor, (key, below) in _ARTIFACTS.items():
            said = told.flavors.get(flavor, {}).get(key, "data" if key == "model_data" else None)
            if flavor not in told.flavors or wanted not in {"", flavor} or not isinstance(said, str):
                continue
            for name in below:
                file = (folder / said / name).resolve()
                if not file.is_relative_to(folder.resolve()) or not file.exists():
                    continue
                framework = next((other for other in self._others if other.owns(file)), None)
                if framework is not None:
                    return flavor, framework, file
        return FUNCTION, None, folder / MLMODEL

    def _as_function(
        self,
        folder: Path,
        told: Described,
        rows: Table | None,
        hints: Hints,
        target: str,
        isolation: Isolation,
        why: str,
    ) -> Conversion:
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only packing needs a process

        require(("mlflow", "pandas"), "mlflow", "A model that no framework here takes by itself runs behind MLflow.")
        if FUNCTION not in told.flavors:
            raise BadInputError(
                "pack.unsupported-model",
                f"{folder.name} has no flavour {FUNCTION}.",
                why=f"It has: {', '.join(told.flavors) or 'none'}, and no framework here takes one of their files.",
                fix="Log the model again by MLflow's module for its library, or pack the model's own file.",
            )
        if not hints.tensors and (rows is None or len(rows) == 0):
            raise BadInputError(
                "pack.no-examples",
                "There are no examples, and the model was logged without an input example.",
                why="A package keeps answers to some rows, to prove wherever it is loaded that the model gives them.",
                fix="Give some hundreds of rows: --data FILE, or examples= in Python.",
            )
        files = _files(folder)
        return convert_file(
            folder / MLMODEL,
            rows,
            family=self.name,
            target=target,
            timeout_seconds=self._timeout,
            route="native",
            isolation=isolation,
            why=why,
            beside={f"model/{name}": path for name, path in files.items() if name != MLMODEL},
            hints=hints,
        )


def described(folder: Path) -> Described:
    """What the folder's ``MLmodel`` says; nothing in it is run.

    Raises:
        BadInputError: ``pack.unreadable-model``.
    """
    file = folder / MLMODEL
    try:
        with file.open("rb") as stream:
            told = yaml.safe_load(stream.read(_MAX_BYTES))
        flavors = {str(name): dict(said or {}) for name, said in told["flavors"].items()}
        signature = json.loads((told.get("signature") or {}).get("inputs") or "[]")
        columns = tuple(str(row["name"]) for row in signature if row.get("type") != "tensor" and "name" in row)
        example = (told.get("saved_input_example_info") or {}).get("artifact_path") or ""
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{MLMODEL} in {folder.name!r} cannot be read.",
            why=f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else 'it is not complete'}.",
            fix="Give a model directory as MLflow wrote it.",
        ) from error
    said = [f"MLflow {told['mlflow_version']}"] if told.get("mlflow_version") else []
    said += [f"{words} {told[key]}" for key, words in (("run_id", "run"), ("model_uuid", "model")) if told.get(key)]
    return Described(flavors, columns, str(example), ", ".join(said))


def _as_described(told: Described, examples: Table | None, folder: Path) -> Table | None:
    """The examples, or the model's own input example, with the columns of its schema in order."""
    rows = examples if examples is not None else _own_example(folder, told.example)
    if rows is None or not told.columns:
        return rows
    absent = [name for name in told.columns if name not in rows]
    if absent:
        raise BadInputError(
            "pack.missing-column",
            f"The examples have no column {absent[0]!r}.",
            why=f"The model's signature in MLflow names {', '.join(told.columns)}.",
            fix="Give the examples with these columns.",
        )
    return rows.select(told.columns)


def _own_example(folder: Path, name: str) -> Table | None:
    """The data frame that MLflow keeps beside the model; None where there is none, or one of another kind."""
    file = (folder / name).resolve()
    if not name or not file.is_relative_to(folder.resolve()) or not file.is_file() or file.stat().st_size > 2**26:
        return None
    try:
        held = json.loads(file.read_bytes())
        names, rows = [str(column) for column in held["columns"]], held["data"]
        return table_of_rows([dict(zip(names, row, strict=True)) for row in rows])
    except (ValueError, TypeError, KeyError, BadInputError):
        return None


def _no_framework(told: Described, wanted: str) -> str:
    if wanted == FUNCTION:
        return f"The flavour {FUNCTION} was asked for."
    native = [name for name in told.flavors if name != FUNCTION]
    if not native:
        return f"MLflow knows it as {FUNCTION} alone, which is code."
    return f"No framework here takes the file of MLflow's flavour {', '.join(native)}, so it runs behind MLflow."


def _files(folder: Path) -> dict[str, Path]:
    """Every regular file by its name in the folder, but what Python compiled."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }


def _origin(folder: Path, told: Described) -> dict[str, str]:
    """Where the model came from, and a digest over all of its files."""
    whole = {"source_sha256": files_sha256(_files(folder))}
    return whole | ({"mlflow": told.origin} if told.origin else {})
