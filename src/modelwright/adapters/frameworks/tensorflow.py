"""Packs TensorFlow's and Keras's models; files are opened only in a jailed process."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.extras import require
from modelwright.adapters.frameworks.source_digest import files_sha256
from modelwright.core.errors import BadInputError
from modelwright.core.native import Isolation
from modelwright.core.table import Table
from modelwright.native.tensorflow_model import SAVED_MODEL
from modelwright.ports.framework import NO_HINTS, Conversion, Hints, Route

SUFFIXES = frozenset({".keras", ".h5", ".tflite"})
OPTIONS = ("classes", "format", "outputs")
LITE = "tflite"


class TensorflowFramework:
    """Converts SavedModel folders, Keras models and their files; packs TensorFlow Lite models as they are.

    The option ``format=tflite`` makes a TensorFlow Lite model of the others.

    Args:
        timeout_seconds: how long the jailed process may take for one model.
    """

    name = "tensorflow"

    def __init__(self, timeout_seconds: float = 900.0) -> None:
        self._timeout = timeout_seconds

    def owns(self, model: object) -> bool:
        """True for a file by its suffix, a folder with a ``saved_model.pb``, and a Keras model; imports nothing."""
        if isinstance(model, Path):
            return model.suffix.lower() in SUFFIXES or (model / SAVED_MODEL).is_file()
        return any(base.__module__.startswith("keras.") and base.__name__ == "Model" for base in type(model).__mro__)

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
        """Convert and certify; what does not convert is kept as it is. A Keras model in memory is exported first.

        Raises:
            BadInputError: ``pack.unreadable-model``, ``pack.wrong-route``, ``pack.bad-option``, and those of
                :func:`modelwright.adapters.frameworks.tensor_proof.question`.
            RefusedError: ``pack.unconvertible``, ``pack.parity-failed`` on the route ``onnx`` and with the option
                ``format``; else ``pack.native-differs``, ``pack.not-repeatable``.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        hints.require_known(self.name, OPTIONS, tensors=True)
        to_lite = _wants_lite(hints, route)
        if isinstance(model, Path):
            lite = model.suffix.lower() == ".tflite"
            _require(*(("ai_edge_litert",) if lite or to_lite else ()), *(() if lite else ("tensorflow",)))
            if lite and route == "onnx":
                raise BadInputError(
                    "pack.wrong-route",
                    f"{model.name} is a TensorFlow Lite model, which runs as it is.",
                    fix="Leave --onnx out, or pack the model that it was made from.",
                )
            made = self._jailed(model, examples, target, route, isolation, hints)
            return replace(made, notes=made.notes | _source(model))
        _require("tensorflow", *(("ai_edge_litert",) if to_lite else ()))
        held: Any = model
        with tempfile.TemporaryDirectory(prefix="modelwright-pack-") as folder:
            try:
                held.export(folder, verbose=False)
            except Exception as error:
                raise BadInputError(
                    "pack.not-fitted",
                    f"The {type(held).__name__} cannot be exported.",
                    why=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}.",
                    fix="Train it, or call it once on an example, so that it knows its inputs.",
                ) from error
            made = self._jailed(Path(folder), examples, target, route, isolation, hints)
        return replace(made, model_class=type(held).__name__)

    def _jailed(
        self, model: Path, examples: Table | None, target: str, route: Route, isolation: Isolation, hints: Hints
    ) -> Conversion:
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only packing needs a process

        folder = model.is_dir()
        return convert_file(
            model / SAVED_MODEL if folder else model,
            examples,
            family=self.name,
            target=target,
            timeout_seconds=self._timeout,
            route=route,
            isolation=isolation,
            beside=_beside(model) if folder else None,
            hints=hints,
        )


def _beside(folder: Path) -> dict[str, Path]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != SAVED_MODEL)
    return {path.relative_to(folder).as_posix(): path for path in files}


def _source(model: Path) -> dict[str, str]:
    """The digest of a folder, over all of its files; of a file it is taken elsewhere."""
    if not model.is_dir():
        return {}
    return {"source_sha256": files_sha256({SAVED_MODEL: model / SAVED_MODEL, **_beside(model)})}


def _wants_lite(hints: Hints, route: Route) -> bool:
    said = hints.options.get("format", "")
    if said not in {"", LITE}:
        raise BadInputError(
            "pack.bad-option",
            f"The option format cannot be {said!r}.",
            why="It says what to make of a TensorFlow model besides ONNX.",
            fix=f"Write format={LITE}, or leave it out: --onnx and --native ask for the other two.",
        )
    if said and route == "onnx":
        raise BadInputError(
            "pack.wrong-route",
            "A model is packed as ONNX or as TensorFlow Lite, not as both.",
            why=f"--onnx and --option format={LITE} were both given.",
            fix="Leave one of them out.",
        )
    return bool(said)


def _require(*modules: str) -> None:
    why = "Packing TensorFlow's models needs it; serving those that convert does not."
    require((*modules, "onnx"), "tensorflow", why)
