"""Runs a package's ONNX graph inline, on ONNX Runtime's CPU provider, from verified bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime  # reports nothing to its maker: ``modelwright/__init__.py`` forbade it before this line could run
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError, UnavailableError
from modelwright.core.package import Package

GRAPH_FILE = "model.onnx"
_NO_FOLDER = "/dev/null"  # tensors kept in files beside a graph would be read from wherever this process stands
_QUIET = 4  # fatal only: errors reach the caller as exceptions, not as lines on stderr


class OnnxRunner:
    """One loaded graph.

    Args:
        graph: serialized ONNX model.
        name: the model's name, for messages.
        threads: threads inside one operator; ONNX Runtime would size its pool from the host, not from our share.
    """

    memory_bytes = 0

    def __init__(self, graph: bytes, *, name: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        # An arena keeps the memory of the largest run for ever, and makes every small model half as large again.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NO_FOLDER)
        self._name = name
        try:
            self._session: Any = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no public base class
            raise BadInputError(
                "serve.graph-unusable",
                f"The ONNX graph of {name!r} cannot be loaded.",
                why=_first_line(error),
                fix="Pack the model again with operators that this ONNX Runtime supports.",
            ) from error
        self._run = self._session.run
        self._output_names = [output.name for output in self._session.get_outputs()]

    @property
    def remote(self) -> None:
        """None: it runs here."""
        return

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Named output tensors (all when ``outputs`` is None), in the order asked for.

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
        except Exception as error:  # as above: no public base class
            raise BadInputError(
                "serve.model-rejected-input",
                f"Model {self._name!r} rejected its input.",
                why=_first_line(error),
                fix="Compare the tensors with the model's metadata.",
            ) from error
        return dict(zip(names, tensors, strict=True))

    def unready(self) -> str:
        """Why it could not answer now; empty when it could."""
        return "It is closed." if self._run is None else ""

    def close(self) -> None:
        """Drop the session and its memory."""
        self._run = self._session = None


class OnnxRunners:
    """Loads packages that hold ``model.onnx``."""

    def load(self, package: Package, *, threads: int = 1) -> OnnxRunner:
        """A runner over the package's verified graph.

        Raises:
            CorruptError: the bytes do not match the manifest.
            BadInputError: ``serve.graph-unusable``.
            NotFoundError: the package has no ``model.onnx``.
        """
        return OnnxRunner(package.read(GRAPH_FILE), name=package.name, threads=threads)


def _first_line(error: Exception) -> str:
    """The first line of an error: ONNX Runtime appends stack frames with build paths."""
    return str(error).strip().split("\n", 1)[0][:500]
