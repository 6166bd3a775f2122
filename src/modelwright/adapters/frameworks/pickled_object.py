"""What the adapters of small libraries share whose models are Python objects: pickled here, opened in the jail."""

from __future__ import annotations

from pathlib import Path

from modelwright.adapters.frameworks.extras import require
from modelwright.adapters.frameworks.sklearn import pickled
from modelwright.core.native import Isolation
from modelwright.core.table import Table
from modelwright.ports.framework import NO_HINTS, Conversion, Hints, Route


class PickledFramework:
    """Converts objects of one library, and files of one suffix, in a jailed process.

    Args:
        timeout_seconds: how long the jailed process may take for one model.
    """

    name: str
    root: str
    """Root module of the library's classes."""
    suffix: str
    needs: tuple[str, ...]
    options: tuple[str, ...] = ()

    def __init__(self, timeout_seconds: float = 600.0) -> None:
        self._timeout = timeout_seconds

    def owns(self, model: object) -> bool:
        """True for a file by its suffix, and for an object of the library's classes; opens and imports nothing."""
        if isinstance(model, Path):
            return model.suffix.lower() == self.suffix
        kind = model if isinstance(model, type) else type(model)
        return any(base.__module__.partition(".")[0] == self.root for base in kind.__mro__)

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
        """Convert and certify in a jailed process; see the library's family.

        Raises:
            BadInputError: ``pack.missing-extra``, ``pack.unknown-option``, ``pack.unpicklable``; the family's.
            RefusedError: those of the family.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only packing needs a process

        require(self.needs, self.name, f"Packing models of {self.name} needs it.")
        hints.require_known(self.name, self.options)

        def converted(file: Path) -> Conversion:
            return convert_file(
                file,
                examples,
                family=self.name,
                target=target,
                timeout_seconds=self._timeout,
                route=route,
                isolation=isolation,
                hints=hints,
            )

        if isinstance(model, Path):
            return converted(model)
        with pickled(model) as file:
            return converted(file)


class StatsmodelsFramework(PickledFramework):
    """Converts results of fitted statsmodels models."""

    name = root = "statsmodels"
    suffix = ".statsmodels"
    needs = ("statsmodels", "joblib", "onnx", "pandas")


class RiverFramework(PickledFramework):
    """Packs models of river, which go on learning."""

    name = root = "river"
    suffix = ".river"
    needs = ("river", "joblib", "typing_extensions")
    options = ("learned_from",)
