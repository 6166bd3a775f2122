"""What packs models and what runs them: frameworks, graphs and runners, each made of the adapters that it stands on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from modelwright import settings as settings_module
from modelwright.ports.framework import Framework
from modelwright.ports.runner import RunnerLoader
from modelwright.settings import Settings
from modelwright.wiring.libraries import place
from modelwright.wiring.packages import open_package

if TYPE_CHECKING:
    from modelwright.core.package import Package


def with_graphs(of_graphs: Framework) -> tuple[Framework, ...]:
    """Every framework adapter found, and those that stand on others: of MLflow's folders, and the given one of graphs.

    One that cannot be imported is left out (``modelwright plugins`` says why).
    """
    loaded: list[Framework] = []
    for point in entry_points(group="modelwright.frameworks"):
        try:
            loaded.append(point.load()())
        except ImportError:
            continue
    return (*loaded, mlflow_folders(loaded), of_graphs)


def mlflow_folders(others: Sequence[Framework]) -> Framework:
    """Packs MLflow's model directories, the file in one by whichever of the others takes it."""
    from modelwright.adapters.frameworks.mlflow_folder import MlflowFramework  # lazy: see wiring

    return MlflowFramework(others)


def graphs_of(registered: Callable[[str, str], tuple[str, Package]]) -> Framework:
    """Packs graphs of models: from package files, and of models that ``registered`` gives as number and package."""
    from modelwright.adapters.frameworks.graph import GraphFramework  # lazy: see wiring

    return GraphFramework(runners(), open_package, registered)


def runners(settings: Settings | None = None, **native: Any) -> RunnerLoader:
    """What loads packages of every route; ``isolation`` is the setting's where it is not given."""
    from modelwright.adapters.runners.graph import GraphRunners  # lazy: see wiring
    from modelwright.adapters.runners.routed import RoutedRunners

    if "isolation" not in native:
        native["isolation"] = (settings or settings_module.load({})).native_isolation
    return GraphRunners(RoutedRunners(place=place(settings), **native))
