"""Loads packages that run as code: who gets how many processes, of what size, on which device."""

from __future__ import annotations

import sys

from modelwright.adapters.runners.process import ProcessRunner
from modelwright.core.device import DeviceWish
from modelwright.core.errors import RefusedError
from modelwright.core.native import IDLE_SHARE, MEMORY_BYTES, Isolation, require_jail
from modelwright.core.package import Package
from modelwright.ports.runner import Place, right_here


class ProcessRunners:
    """Loads native packages.

    Args:
        instances: processes per version.
        memory_bytes: address space of each.
        isolation: the least that each must hold, where a package does not ask for more.
        idle_share: the share of a core that a process may use while no request is with it; 0: any.
        place: folder of the libraries that a package runs with; None: those of this process.
        wish: kinds of devices; what the models are told of it is :func:`told_devices`.
    """

    def __init__(
        self,
        *,
        instances: int = 1,
        memory_bytes: int = MEMORY_BYTES,
        isolation: Isolation = "standard",
        wish: DeviceWish | None = None,
        idle_share: float = IDLE_SHARE,
        place: Place = right_here,
    ) -> None:
        self._idle_share, self._place = idle_share, place
        self._instances, self._memory_bytes, self._isolation = instances, memory_bytes, isolation
        self._devices = told_devices(wish)

    def load(self, package: Package, *, threads: int = 1, instead: str = "") -> ProcessRunner:  # noqa: ARG002 - the port's
        """A runner whose first process has opened the model.

        Raises:
            CorruptError: the bytes do not match the manifest.
            BadInputError: ``serve.model-unusable``: the model cannot be opened.
            UnavailableError: ``serve.runner-failed-to-start``.
            RefusedError: ``serve.native-unsupported``: this system has no means to hold such a process;
                ``serve.isolation-off``: the package asks for no jail, and the operator has not allowed that;
                ``environment.not-built``: the libraries of its lock are not here.
        """
        assert package.native is not None
        require_jail(package.name, package.native, self._isolation)
        if not sys.platform.startswith("linux"):
            raise RefusedError(
                "serve.native-unsupported",
                f"Model {package.name!r} runs as code, which needs Linux.",
                fix="Serve it on Linux, or pack it as ONNX.",
            )
        return ProcessRunner(
            package,
            instances=self._instances,
            threads=threads,
            memory_bytes=self._memory_bytes,
            isolation=self._isolation,
            devices=self._devices,
            idle_share=self._idle_share,
            site=self._place(package),
        )


def told_devices(wish: DeviceWish | None) -> tuple[str, ...]:
    """The devices of the first kind that was asked for, as PyTorch names them; the CPU where nobody asked for one."""
    if wish is None or wish.automatic:
        return ("cpu",)
    first = wish.choices[0]
    kind = {"cuda": "cuda", "tensorrt": "cuda", "migraphx": "cuda", "coreml": "mps"}.get(first.kind, "cpu")
    return tuple(f"{kind}:{number}" for number in first.ids) if kind == "cuda" and first.ids else (kind,)
