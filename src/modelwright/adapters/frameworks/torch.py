"""Packs PyTorch models: modules in this process, files only in a jailed process of their own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.extras import TORCH_FIRST, require
from modelwright.adapters.frameworks.routes import on_route
from modelwright.core.errors import BadInputError
from modelwright.core.native import Isolation
from modelwright.core.table import Table
from modelwright.ports.framework import NO_HINTS, Conversion, Hints, Route

SUFFIXES = frozenset({".pt", ".pth", ".pt2", ".ts"})
OPTIONS = ("classes", "code", "dynamic", "factory", "outputs", "split")
_SETTINGS = "torch.json"


class TorchFramework:
    """Converts PyTorch modules, exported programs, TorchScript, and weights with the code that takes them.

    Args:
        timeout_seconds: how long the jailed process may take for one file.
    """

    name = "torch"

    def __init__(self, timeout_seconds: float = 600.0) -> None:
        self._timeout = timeout_seconds

    def owns(self, model: object) -> bool:
        """True for a file by its suffix, and for a module or an exported program; opens and imports nothing."""
        if isinstance(model, Path):
            return model.suffix.lower() in SUFFIXES
        return any(base.__module__.startswith("torch.") and base.__name__ in _CLASSES for base in type(model).__mro__)

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
        """Convert and certify; see :func:`modelwright.adapters.frameworks.torch_convert.convert`.

        On the route ``auto`` a model that does not convert, or not into one that answers alike, is kept as it is.

        Raises:
            BadInputError: besides those of the conversion, ``pack.unreadable-model``, ``pack.bad-option``,
                ``pack.unsplittable``, ``pack.wrong-route``.
            RefusedError: ``pack.unconvertible``, ``pack.parity-failed`` on the route ``onnx``; on the others
                ``pack.native-differs``, ``pack.not-repeatable``.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        why = "Packing PyTorch models needs it; serving what converts does not."
        require(("torch", "onnxscript", "onnx"), self.name, why, first=TORCH_FIRST)
        hints.require_known(self.name, OPTIONS, tensors=True)
        split = _split(hints, route)
        _settings(hints.options)
        if isinstance(model, Path):
            return self._file(model, examples, target, route, isolation, hints)
        return self._held(model, examples, target, "native" if split else route, isolation, hints)

    def _held(
        self, model: Any, examples: Table | None, target: str, route: Route, isolation: Isolation, hints: Hints
    ) -> Conversion:
        from modelwright.adapters.frameworks.torch_convert import ask, convert  # lazy: heavy
        from modelwright.adapters.frameworks.torch_files import in_memory, saved

        with in_memory(model) as opened:
            asked = ask(opened, examples, hints, target)

            def as_graph() -> Conversion:
                made = convert(opened, asked)
                notes = {"isolation": "none: the model was already an object in the caller's process"}
                return replace(made, notes=made.notes | notes)

            def as_code(why: str) -> Conversion:
                with saved(opened, asked.typed, whole=bool(hints.options.get("split"))) as file:
                    made = self._file(file, examples, target, "native", isolation, hints, why)
                return replace(made, model_class=type(model).__name__)

            return on_route(route, as_graph, as_code)

    def _file(
        self,
        file: Path,
        examples: Table | None,
        target: str,
        route: Route,
        isolation: Isolation,
        hints: Hints,
        why: str = "",
    ) -> Conversion:
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only files need a process

        with _staged(file, hints.options) as (staged, beside):
            return convert_file(
                staged,
                examples,
                family=self.name,
                target=target,
                timeout_seconds=self._timeout,
                route=route,
                isolation=isolation,
                why=why,
                beside=beside,
                hints=hints,
            )


_CLASSES = frozenset({"Module", "ExportedProgram"})


def _split(hints: Hints, route: Route) -> bool:
    said = hints.options.get("split", "")
    if said not in {"", "auto"}:
        raise BadInputError(
            "pack.bad-option", f"A model is not split as {said!r} says.", fix="Write --option split=auto."
        )
    if said and route == "onnx":
        raise BadInputError(
            "pack.wrong-route",
            "A model that is split over devices runs as code.",
            fix="Leave --onnx out, or --option split=auto.",
        )
    return bool(said)


@contextlib.contextmanager
def _staged(file: Path, options: Mapping[str, str]) -> Iterator[tuple[Path, dict[str, Path]]]:
    """The model's file in a folder with what it is opened with, and those other files by their names in the package."""
    if not file.is_file():
        raise BadInputError(
            "pack.missing-file", f"{str(file)!r} cannot be read.", why="It is not a file.", fix="Check the path."
        )
    settings, code = _settings(options)
    with tempfile.TemporaryDirectory(prefix="modelwright-pack-") as folder:
        place = Path(folder)
        staged = place / f"model{file.suffix.lower()}"
        _same(file, staged)
        beside = {}
        if code is not None:
            beside[code.name] = place / code.name
            shutil.copyfile(code, beside[code.name])
        if settings:
            beside[_SETTINGS] = place / _SETTINGS
            beside[_SETTINGS].write_text(json.dumps(settings, sort_keys=True))
        yield staged, beside


def _same(file: Path, place: Path) -> None:
    """The file at another place: no copy where the disk can do without."""
    try:
        os.link(file.resolve(), place)
    except OSError:
        shutil.copyfile(file, place)


def _settings(options: Mapping[str, str]) -> tuple[dict[str, str], Path | None]:
    said = options.get("factory") or options.get("code") or ""
    name, colon, function = said.rpartition(":") if options.get("factory") else (said, "", "")
    settings = {"split": options["split"]} if options.get("split") else {}
    if not said:
        return settings, None
    if options.get("factory") and not (colon and name and function.isidentifier()):
        raise BadInputError(
            "pack.bad-option", f"{said!r} is not FILE.py:FUNCTION.", fix="Write --option factory=net.py:build."
        )
    code = Path(name)
    if code.suffix != ".py" or not code.is_file() or not code.stem.isidentifier():
        raise BadInputError(
            "pack.bad-option",
            f"There is no Python file {name!r}.",
            why="It defines the module that the weights belong to.",
            fix="Check the path; it is looked for from where the command runs.",
        )
    return settings | {"code": code.name} | ({"factory": function} if function else {}), code
