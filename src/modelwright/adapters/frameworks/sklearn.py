"""Packs scikit-learn models: objects in this process, pickled files only in a jailed process of their own.

What is not converted to ONNX is asked about the examples in a jailed process too, as a package will be served.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.native import Isolation
from modelwright.core.table import Table
from modelwright.ports.framework import Conversion, Route

ASKED = "It was asked for."
NO_ONNX = frozenset({"pack.unconvertible", "pack.parity-failed", "pack.unsupported-model"})
"""Codes of the errors that say: not on the ONNX route."""
SUFFIXES = frozenset({".joblib", ".pkl", ".pickle"})


class SklearnFramework:
    """Converts fitted scikit-learn classifiers, regressors and pipelines.

    Args:
        timeout_seconds: how long the jailed process may take for one file.
    """

    name = "sklearn"

    def __init__(self, timeout_seconds: float = 600.0) -> None:
        self._timeout = timeout_seconds

    def owns(self, model: object) -> bool:
        """True for a pickled file by its suffix, and for a scikit-learn object; opens and imports nothing."""
        if isinstance(model, Path):
            return model.suffix.lower() in SUFFIXES
        kind = model if isinstance(model, type) else type(model)
        return any(base.__module__.partition(".")[0] == "sklearn" for base in kind.__mro__)

    def convert(
        self,
        model: object | Path,
        examples: Table | None,
        *,
        target: str = "",
        route: Route = "auto",
        isolation: Isolation = "strict",
    ) -> Conversion:
        """Convert and certify; see :func:`modelwright.adapters.frameworks.sklearn_convert.convert`.

        On the route ``auto`` a model that does not convert, or not into one that answers alike, is kept as it is.

        Raises:
            BadInputError: besides those of the conversion, ``pack.unreadable-model`` for a file that is no pickle.
            RefusedError: ``pack.unconvertible``, ``pack.parity-failed`` on the route ``onnx``; on the others
                ``pack.native-differs``, ``pack.not-repeatable``.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        _require_extra()
        if isinstance(model, Path):
            from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only files need a process

            return convert_file(
                model, examples, target=target, timeout_seconds=self._timeout, route=route, isolation=isolation
            )
        held: Any = model
        if route != "native":
            from modelwright.adapters.frameworks.sklearn_convert import convert  # lazy: heavy

            try:
                return convert(held, examples, target=target)
            except ModelwrightError as error:
                if route == "onnx" or error.code not in NO_ONNX:
                    raise
                try:
                    return self._native(held, examples, target, isolation, because(error))
                except BadInputError as refused:
                    if refused.code == "pack.unpicklable":  # neither way is open; the nearer one is worth the words
                        raise error from refused
                    raise
        return self._native(held, examples, target, isolation, ASKED)

    def _native(self, model: Any, examples: Table | None, target: str, isolation: Isolation, why: str) -> Conversion:
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only files need a process

        with _pickled(model) as file:
            return convert_file(
                file,
                examples,
                target=target,
                timeout_seconds=self._timeout,
                route="native",
                isolation=isolation,
                why=why,
            )


@contextlib.contextmanager
def _pickled(model: Any) -> Iterator[Path]:
    """The object as a file of joblib's.

    Raises:
        BadInputError: ``pack.unpicklable``.
    """
    import joblib  # lazy: heavy

    with tempfile.TemporaryDirectory(prefix="modelwright-pack-") as folder:
        file = Path(folder) / "model.joblib"
        try:
            joblib.dump(model, file)
        except Exception as error:
            raise BadInputError(
                "pack.unpicklable",
                f"The {type(model).__name__} cannot be pickled.",
                why=f"{type(error).__name__}: {str(error)[:300]}.",
                fix="Use no lambda and no class or function that is defined inside another one.",
            ) from error
        yield file


def because(error: ModelwrightError) -> str:
    """Why a model runs as code, from the error of its conversion."""
    return f"{error.what} {error.why}".strip()[:1000]


def neither(error: ModelwrightError, why: str) -> ModelwrightError:
    """The error of a model that cannot run as code either, with why it is no graph."""
    if why == ASKED:
        return error
    return type(error)(
        error.code,
        error.what,
        why=f"{error.why} It is not converted because: {why}",
        fix=error.fix,
        details=error.details,
    )


def _require_extra() -> None:
    from importlib.util import find_spec  # lazy: nothing else here needs it

    absent = [name for name in ("sklearn", "skl2onnx", "onnx", "pandas") if find_spec(name) is None]
    if absent:
        raise BadInputError(
            "pack.missing-extra",
            f"{absent[0]} is not installed.",
            why="Packing scikit-learn models needs it; serving them does not.",
            fix="Install it with: pip install 'modelwright[sklearn]'",
        )
