"""Packs boosted trees of XGBoost, LightGBM and CatBoost: objects in this process, files in a jailed one.

What is not converted to ONNX is kept in the library's own file, which holds data and no code.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.extras import require
from modelwright.adapters.frameworks.routes import on_route
from modelwright.adapters.frameworks.sklearn import NEEDS
from modelwright.core.errors import RefusedError
from modelwright.core.native import Isolation
from modelwright.core.table import Table
from modelwright.native.boosters import SUFFIXES, Booster, Library
from modelwright.ports.framework import NO_HINTS, Conversion, Hints, Route

OPTIONS = {"classes": "names of the classes, in the order of the probabilities, with commas between them"}
_HEAD = 4096


def library_of_file(path: Path) -> Library | None:
    """Whose file this is, by its suffix and its first bytes."""
    suffix = path.suffix.lower()
    if suffix not in {".ubj", ".json", ".model", ".bst", ".txt", ".lgb", ".cbm"} or not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"CBM1"):
        return "catboost"
    if head.startswith(b"tree\n") and b"num_class=" in head:
        return "lightgbm"
    # UBJSON and JSON of an object whose first keys are the learner's or the version's.
    if head[:1] == b"{" and (b"learner" in head[:64] or b'"version"' in head[:64]):
        return "xgboost"
    return None


class BoosterFramework:
    """Converts boosters and the estimators that the three libraries make around them.

    Args:
        timeout_seconds: how long the jailed process may take for one model.
    """

    name = "boosters"

    def __init__(self, timeout_seconds: float = 600.0) -> None:
        self._timeout = timeout_seconds

    def owns(self, model: object) -> bool:
        """True for a file of one of the libraries, and for their objects; imports nothing."""
        if isinstance(model, Path):
            return library_of_file(model) is not None
        return not isinstance(model, type) and type(model).__module__.partition(".")[0] in SUFFIXES

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
        """Convert and certify; where that does not hold, keep the library's own file.

        Raises:
            BadInputError: besides those of the conversion, ``pack.unreadable-model`` for a damaged file.
            RefusedError: ``pack.unconvertible``, ``pack.parity-failed`` on the route ``onnx``; on the others
                ``pack.native-differs``.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        hints.require_known(self.name, OPTIONS)
        if isinstance(model, Path):
            library = library_of_file(model)
            assert library is not None
            _require(library)
            return self._jailed(model, examples, target, route, isolation, hints, "")
        held: Any = model
        _require(type(held).__module__.partition(".")[0])
        from modelwright.adapters.frameworks.boosters_estimator import boosted  # lazy: needs the extra

        booster = boosted(held, classes_of(hints)).renamed(examples.names if examples is not None else ())
        return on_route(
            route,
            lambda: graph_of(booster, examples, target, type(held).__name__),
            lambda why: self._native(booster, examples, target, isolation, why),
        )

    def _native(
        self, booster: Booster, examples: Table | None, target: str, isolation: Isolation, why: str
    ) -> Conversion:
        options = {"every": "yes" if booster.best is None else ""}
        if booster.classifies:
            options["classes_json"] = json.dumps(booster.classes_.tolist())
        with tempfile.TemporaryDirectory(prefix="modelwright-pack-") as folder:
            file = Path(folder) / f"model{SUFFIXES[booster.library]}"
            booster.save(file)
            return self._jailed(file, examples, target, "native", isolation, Hints(options=options), why)

    def _jailed(
        self,
        file: Path,
        examples: Table | None,
        target: str,
        route: Route,
        isolation: Isolation,
        hints: Hints,
        why: str,
    ) -> Conversion:
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only files need a process

        return convert_file(
            file,
            examples,
            family=self.name,
            target=target,
            timeout_seconds=self._timeout,
            route=route,
            isolation=isolation,
            why=why,
            hints=hints,
        )


def classes_of(hints: Hints) -> tuple[Any, ...]:
    """The classes' names that were given, whole numbers as such; empty where none were."""
    if "classes_json" in hints.options:
        return tuple(json.loads(hints.options["classes_json"]))
    words = [word.strip() for word in hints.options.get("classes", "").split(",") if word.strip()]
    whole = all(word.lstrip("-").isdigit() for word in words)
    return tuple(int(word) if whole else word for word in words)


def graph_of(booster: Booster, examples: Table | None, target: str, kind: str) -> Conversion:
    """The booster as an ONNX graph proven against it.

    Raises:
        RefusedError: ``pack.unconvertible``, ``pack.parity-failed``.
    """
    text = [name for name in examples.names if examples[name].dtype == object] if examples is not None else []
    if text:
        raise RefusedError(
            "pack.unconvertible",
            f"The {kind} has no conversion to ONNX.",
            why=f"Its column {text[0]!r} holds categories as text.",
            fix="Leave --onnx out: it runs as code. Or put a OneHotEncoder before it, in a scikit-learn pipeline.",
        )
    from modelwright.adapters.frameworks.boosters_estimator import estimator  # lazy: needs the extra
    from modelwright.adapters.frameworks.sklearn_convert import convert

    try:
        return described(convert(estimator(booster), examples, target=target), booster, kind)
    except RefusedError as error:
        if error.code != "pack.unconvertible":
            raise
        raise RefusedError(
            error.code,
            f"The {kind} has no conversion to ONNX.",
            why=error.why,
            fix="Leave --onnx out: it runs as code, from the library's own file.",
        ) from error


def described(conversion: Conversion, booster: Booster, kind: str) -> Conversion:
    """The conversion under the library's name, with what it was trained by."""
    from modelwright.adapters.frameworks.environment import environment  # lazy: only packing needs it

    version = __import__(booster.library).__version__
    rounds = {} if booster.best is None else {"rounds": "up to the best one that training noted"}
    return replace(
        conversion,
        framework=booster.library,
        framework_version=str(version),
        model_class=kind,
        environment=environment({booster.library}),
        notes=conversion.notes | rounds,
    )


def _require(library: str) -> None:
    extra = "catboost" if library == "catboost" else "boosters"
    why = f"Packing models of {library} needs it; serving those that convert does not."
    require((library, *NEEDS), extra, why)
