"""Runs a package's ONNX graph inline, on ONNX Runtime, from verified bytes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime  # as in :mod:`.sessions`
from numpy.typing import NDArray

from modelwright.adapters.runners.sessions import CPU_ONLY, Graph, Open, Sessions, first_line, open_session
from modelwright.core.content import Content, private_folder
from modelwright.core.device import DeviceWish, Placement
from modelwright.core.errors import BadInputError, UnavailableError
from modelwright.core.package import Package
from modelwright.core.package_codec import golden_tensors
from modelwright.ports.runner import Runner

GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx.data"

_logger = logging.getLogger(__name__)


class OnnxRunner:
    """One loaded graph.

    Args:
        name: the model's name, for messages.
        sessions: over the same graph, at least one; each runs what comes while the others are busy.
        placement: where they are.
    """

    memory_bytes = 0

    def __init__(self, name: str, sessions: Sequence[Any], placement: Placement) -> None:
        self._name, self.placement = name, placement
        self._output_names = [output.name for output in sessions[0].get_outputs()]
        self._free = deque(session.run for session in sessions)
        self._run: Any = self._free[0] if len(sessions) == 1 else self._run_on_a_free_one

    @property
    def remote(self) -> None:
        """None: it runs here."""
        return

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Named output tensors (all when ``outputs`` is None), in the order asked for.

        From as many threads at once as there are sessions.

        Raises:
            BadInputError: ``serve.model-rejected-input``: a wrong name, type or shape, or an operator that failed.
            UnavailableError: ``serve.runner-closed``.
        """
        names = self._output_names if outputs is None else list(outputs)
        run = self._run
        if run is None:
            raise UnavailableError("serve.runner-closed", f"The runner of {self._name!r} is closed.")
        try:
            tensors = run(names, inputs)
        except Exception as error:  # ONNX Runtime's own exceptions share no public base class
            raise BadInputError(
                "serve.model-rejected-input",
                f"Model {self._name!r} rejected its input.",
                why=first_line(error),
                fix="Compare the tensors with the model's metadata.",
            ) from error
        return dict(zip(names, tensors, strict=True))

    def unready(self) -> str:
        """Why it could not answer now; empty when it could."""
        return "It is closed." if self._run is None else ""

    def close(self) -> None:
        """Drop the sessions and their memory."""
        self._run = None
        self._free.clear()

    def _run_on_a_free_one(self, names: list[str], inputs: Mapping[str, NDArray[Any]]) -> Any:
        run = self._free.popleft()
        try:
            return run(names, inputs)
        finally:
            self._free.append(run)


class OnnxRunners:
    """Loads packages that hold ``model.onnx``.

    Args:
        wish: kinds of devices, in the order in which they are tried.
        device_memory_bytes: the most that one session's arena may take of a device; 0: any.
        available: the providers that ONNX Runtime was built with; None: ask it.
        opener: makes one session.
        kernels: private folder of compiled kernels for ensembles of trees on the CPU; None: ONNX Runtime runs them.
    """

    def __init__(
        self,
        wish: DeviceWish = CPU_ONLY,
        *,
        device_memory_bytes: int = 0,
        available: Sequence[str] | None = None,
        opener: Open = open_session,
        kernels: Path | None = None,
    ) -> None:
        self._kernels = kernels
        built = onnxruntime.get_available_providers() if available is None else available
        self._sessions = Sessions(wish, memory_bytes=device_memory_bytes, available=built, opener=opener)

    def load(self, package: Package, *, threads: int = 1, instead: str = "") -> Runner:
        """A runner over the package's verified graph.

        Raises:
            CorruptError: the bytes do not match the manifest.
            BadInputError: ``serve.graph-unusable``.
            NotFoundError: the package has no ``model.onnx``.
            UnavailableError: ``serve.device-unavailable``.
        """
        graph = package.content(GRAPH_FILE)
        with _openable(package, graph) as place:
            sessions, placement = self._sessions.open(place, name=package.name, threads=threads, instead=instead)
        if placement.reason:
            _logger.warning("runs on the CPU", extra={"model": package.name, "why": placement.reason})
        runner = OnnxRunner(package.name, sessions, placement)
        if self._kernels is None or placement.kind != "cpu" or not isinstance(graph, bytes):
            if package.kernels is not None and package.kernels.chosen == "trees":
                why = "MODELWRIGHT_KERNELS is off" if self._kernels is None else f"it runs on {placement.kind}"
                _logger.info("trees run on ONNX Runtime", extra={"model": package.name, "why": why})
            return runner
        from modelwright.adapters.runners.trees.runner import with_kernel  # lazy: off unless it is asked for

        golden = golden_tensors(package.signature.inputs, package.golden.inputs) if package.golden else {}
        return with_kernel(
            runner, graph, name=package.name, folder=self._kernels, recorded=package.kernels, golden=golden
        )


@contextmanager
def _openable(package: Package, graph: Content) -> Iterator[Graph]:
    """A small graph as it is; a large one, or one with tensors beside it, in a private folder.

    ONNX Runtime maps what it finds there, where it would copy twice what it is given in memory.
    """
    beside = {WEIGHTS_FILE: package.content(WEIGHTS_FILE)} if WEIGHTS_FILE in package.manifest.files else {}
    if isinstance(graph, bytes) and not beside:
        yield graph
        return
    with private_folder({GRAPH_FILE: graph, **beside}) as folder:
        yield folder / GRAPH_FILE
