"""What works without a data directory; graphs open one when they name a registered model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from modelwright import settings as settings_module
from modelwright.ports.framework import Framework
from modelwright.ports.runner import ChooseKernel
from modelwright.ports.source import Source
from modelwright.settings import Settings
from modelwright.wiring.models import graphs_of, runners, with_graphs
from modelwright.wiring.opened import platform
from modelwright.wiring.packages import fetch_version

if TYPE_CHECKING:
    from modelwright.core.package import Package
    from modelwright.lifecycle.local import Workbench


def frameworks(of_graphs: Framework | None = None) -> tuple[Framework, ...]:
    """What :func:`modelwright.wiring.models.with_graphs` finds, with :func:`graphs` where no other is given."""
    return with_graphs(of_graphs or graphs())


def graphs(registered: Callable[[str, str], tuple[str, Package]] | None = None) -> Framework:
    """Packs graphs of models: from package files, and from the registry: of the environment, where none is given."""
    return graphs_of(registered or _registered(None))


def _registered(settings: Settings | None) -> Callable[[str, str], tuple[str, Package]]:
    """Number and package of a registered model; its registry is opened when one is asked for."""

    def fetch(model: str, reference: str) -> tuple[str, Package]:
        with platform(settings or settings_module.load({})) as opened:
            return fetch_version(opened.versions, opened.blobs, model, reference)

    return fetch


def file_source() -> Source:
    """What reads and writes files of rows."""
    from modelwright.adapters.sources.files import FileSource  # lazy: see wiring

    return FileSource()


def workbench(settings: Settings | None = None, *, kernels: bool = False) -> Workbench:
    """The ports that need no data directory; graphs may name models of the one that ``settings`` say.

    ``kernels``: measure what runs each model that is packed.
    """
    from modelwright.lifecycle.local import Workbench  # lazy: see wiring

    choose: ChooseKernel | None = None
    if kernels:
        from modelwright.adapters.runners.tree_choice import choose  # lazy: asked for by few

    of_graphs = graphs(_registered(settings))
    return Workbench(source=file_source(), frameworks=frameworks(of_graphs), runners=runners(settings), kernels=choose)
