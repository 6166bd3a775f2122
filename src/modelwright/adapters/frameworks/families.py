"""Which module opens and converts the files of a framework inside the jailed converter.

Known by place and not by entry point: a jailed process may see the code and not the metadata of its installation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from modelwright.core.table import Table
from modelwright.ports.framework import Conversion, Hints


@dataclass(frozen=True, slots=True)
class Asked:
    """What the converter is asked.

    ``descriptor`` is the open file, ``path`` where it lies (in a readable folder where the model is one). ``why`` says
    why the route is ``native``; ``level`` is the jail in force, in words.
    """

    name: str
    path: Path
    descriptor: int
    target: str
    route: str
    why: str
    level: str
    examples: Table | None
    hints: Hints


class Family(Protocol):
    """A module with these functions."""

    def import_trusted(self) -> None:
        """Import what conversion needs, before the jail closes and before the file is touched."""
        ...

    def opened(self, asked: Asked) -> Any:
        """Open the file.

        Raises:
            BadInputError: ``pack.unreadable-model``.
        """
        ...

    def convert_opened(self, model: Any, asked: Asked) -> Conversion:
        """Convert what was opened, or prove what it answers as code."""
        ...


_PLACES: Mapping[str, str] = {
    "boosters": "modelwright.adapters.frameworks.boosters_jailed",
    "mlflow": "modelwright.adapters.frameworks.mlflow_native",
    "python": "modelwright.adapters.frameworks.python_native",
    "river": "modelwright.adapters.frameworks.river_native",
    "sklearn": "modelwright.adapters.frameworks.sklearn_jailed",
    "statsmodels": "modelwright.adapters.frameworks.statsmodels_native",
    "tensorflow": "modelwright.adapters.frameworks.tensorflow_jailed",
    "torch": "modelwright.adapters.frameworks.torch_jailed",
    "transformers": "modelwright.adapters.frameworks.transformers_jailed",
}
# Whose objects a pickle may hold besides those of scikit-learn: the root module of a class, and the family.
_PICKLED: Mapping[str, str] = {
    "catboost": "boosters",
    "lightgbm": "boosters",
    "river": "river",
    "statsmodels": "statsmodels",
    "torch": "torch",
    "xgboost": "boosters",
}


def family(name: str) -> Family:
    """The family of that name."""
    found: Any = import_module(_PLACES[name])
    held: Family = found
    return held


def family_of(model: object) -> str:
    """Who converts an object that a pickle held, by the modules of its class and of those it comes from."""
    roots = [base.__module__.partition(".")[0] for base in type(model).__mro__]
    return next((_PICKLED.get(root, root) for root in roots if root in _PICKLED or root == "sklearn"), "sklearn")
