"""Which runner a package gets: by the route that its description states."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.adapters.runners.sessions import CPU_ONLY
from modelwright.core.device import DeviceWish
from modelwright.core.native import IDLE_SHARE, MEMORY_BYTES, NATIVE_ROUTE, Isolation
from modelwright.core.package import Package
from modelwright.ports.runner import Place, Runner, RunnerLoader, right_here


class RoutedRunners:
    """Loads any package: a graph into this process, a model that runs as code into processes of its own.

    Args:
        instances: processes per native version.
        memory_bytes: address space of each.
        isolation: the least that each must hold, where a package does not ask for more.
        wish: kinds of devices, in the order in which they are tried.
        device_memory_bytes: the most that a graph's arena may take of a device; 0: any.
        idle_share: share of a core that a native process may use while no request is with it; 0: any.
        place: folder of the libraries that a native package runs with.
        kernels: private folder of compiled kernels for ensembles of trees; None: ONNX Runtime runs them.
    """

    def __init__(
        self,
        *,
        instances: int = 1,
        memory_bytes: int = MEMORY_BYTES,
        isolation: Isolation = "standard",
        wish: DeviceWish = CPU_ONLY,
        device_memory_bytes: int = 0,
        kernels: Path | None = None,
        idle_share: float = IDLE_SHARE,
        place: Place = right_here,
    ) -> None:
        self._idle_share, self._place = idle_share, place
        self._inline = OnnxRunners(wish, device_memory_bytes=device_memory_bytes, kernels=kernels)
        self._instances, self._memory_bytes, self._isolation, self._wish = instances, memory_bytes, isolation, wish
        self._processes: RunnerLoader | None = None
        self._first = Lock()

    def load(self, package: Package, *, threads: int = 1, instead: str = "") -> Runner:
        """As the package's loader; raises what it raises."""
        if package.description.route == NATIVE_ROUTE:
            return self._of_processes().load(package, threads=threads)
        return self._inline.load(package, threads=threads, instead=instead)

    def _of_processes(self) -> RunnerLoader:
        # lazy: 25 ms that a server without native models need not pay
        from modelwright.adapters.runners.process_loader import ProcessRunners

        with self._first:
            if self._processes is None:
                self._processes = ProcessRunners(
                    instances=self._instances,
                    memory_bytes=self._memory_bytes,
                    isolation=self._isolation,
                    wish=self._wish,
                    idle_share=self._idle_share,
                    place=self._place,
                )
        return self._processes
