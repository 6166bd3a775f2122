"""ONNX Runtime sessions over one graph: on the first kind of device wished for that can run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime  # reports nothing to its maker: ``modelwright/__init__.py`` forbade it before this line could run

from modelwright.adapters.runners.providers import CPU, PROVIDERS, Provider, providers
from modelwright.core.device import ON_CPU, Devices, DeviceWish, Placement
from modelwright.core.errors import BadInputError, UnavailableError

CPU_ONLY = DeviceWish((Devices("cpu"),))
_NO_FOLDER = "/dev/null"  # tensors kept in files beside a graph would be read from wherever this process stands
_QUIET = 4  # fatal only: errors reach the caller as exceptions, not as lines on stderr
_RECORD = "session.record_ep_graph_assignment_info"

Graph = bytes | Path
"""A serialized model; or where it lies in a private folder, with the tensors that are kept beside it."""
Open = Callable[[Graph, Any, Sequence[Provider]], Any]


def open_session(graph: Graph, options: Any, wanted: Sequence[Provider]) -> Any:
    """ONNX Runtime's own session; it does not put another provider in the place of one that fails."""
    names, settings = [name for name, _ in wanted], [dict(given) for _, given in wanted]
    return onnxruntime.InferenceSession(graph, options, names, settings, enable_fallback=0)


class Sessions:
    """Opens graphs where the wish says.

    Args:
        wish: kinds of devices, in the order in which they are tried.
        memory_bytes: the most that one session's arena may take of a device; 0: any.
        available: the providers that this ONNX Runtime was built with.
        opener: makes one session.
    """

    def __init__(self, wish: DeviceWish, *, memory_bytes: int, available: Sequence[str], opener: Open) -> None:
        self._wish, self._memory_bytes = wish, memory_bytes
        self._available, self._opener = frozenset(available), opener

    def open(self, graph: Graph, *, name: str, threads: int, instead: str = "") -> tuple[list[Any], Placement]:
        """A session for each device, and where they are.

        Args:
            graph: serialized ONNX model, or its path in a private folder.
            name: the model's name, for messages.
            threads: threads inside one operator, where the CPU runs it.
            instead: why another device than the CPU will not do.

        Raises:
            BadInputError: ``serve.graph-unusable``.
            UnavailableError: ``serve.device-unavailable``.
        """
        if instead:
            return self._on_cpu(graph, name, threads, instead)
        reasons: list[str] = []
        for devices in self._wish.choices:
            if devices.kind == "cpu":
                return self._on_cpu(graph, name, threads, " ".join(reasons))
            known = PROVIDERS[devices.kind]
            if known.name not in self._available:
                if not self._wish.automatic:
                    reasons.append(f"ONNX Runtime has no {known.name} here (it comes with {known.package}).")
                continue
            sessions, reason = self._on_devices(graph, devices, threads)
            if not reason:
                replaceable = any(other.kind == "cpu" for other in self._wish.choices)
                return sessions, Placement(devices.kind, devices.ids, len(sessions), "", replaceable)
            reasons.append(reason)
        raise self._unavailable(name, " ".join(reasons))

    def _on_cpu(self, graph: Graph, name: str, threads: int, reason: str) -> tuple[list[Any], Placement]:
        try:
            session = self._opener(graph, _options(threads, graph), providers("cpu", None, 0))
        except Exception as error:  # ONNX Runtime's own exceptions share no public base class
            raise BadInputError(
                "serve.graph-unusable",
                f"The ONNX graph of {name!r} cannot be loaded.",
                why=first_line(error),
                fix="Pack the model again with operators that this ONNX Runtime supports.",
            ) from error
        return [session], Placement(reason=reason) if reason else ON_CPU

    def _on_devices(self, graph: Graph, devices: Devices, threads: int) -> tuple[list[Any], str]:
        """A session for each device; or none, and why."""
        options, sessions = _options(threads, graph), []
        options.add_session_config_entry(_RECORD, "1")
        provider = PROVIDERS[devices.kind].name
        for number in devices.ids or (None,):
            where = devices.kind if number is None else f"{devices.kind}:{number}"
            wanted = providers(devices.kind, number, self._memory_bytes)
            try:
                session = self._opener(graph, options, [one for one in wanted if one[0] in self._available])
                if provider not in session.get_providers():  # it only logs that a library of the provider is missing
                    return [], f"{where} cannot be used: a library or driver that {provider} needs is missing."
                if all(part.ep_name == CPU for part in session.get_provider_graph_assignment_info()):
                    return [], f"{where} runs none of the model's operators."
            except Exception as error:  # noqa: BLE001 - as above
                return [], f"{where} cannot be used: {first_line(error)}"
            sessions.append(session)
        return sessions, ""

    def _unavailable(self, name: str, why: str) -> UnavailableError:
        kinds = [one.kind for one in self._wish.choices]
        known = PROVIDERS[kinds[0]]
        missing = known.name not in self._available and known.package != "onnxruntime"
        get = f"pip install {known.package} in the place of onnxruntime, or allow" if missing else "Allow"
        return UnavailableError(
            "serve.device-unavailable",
            f"Model {name!r} cannot run on {', '.join(kinds)}.",
            why=why,
            fix=f"{get} the CPU: --device {','.join(kinds)},cpu.",
        )


def first_line(error: Exception) -> str:
    """The first line of an error: ONNX Runtime appends stack frames with build paths."""
    return str(error).strip().split("\n", 1)[0][:500]


def _options(threads: int, graph: Graph) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # ONNX Runtime would size its pool from the host, not from our share
    options.inter_op_num_threads = 1
    if threads > 1:  # threads that spin between two runs take the processor from the event loop and other models
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _QUIET
    # An arena keeps the memory of the largest run for ever, and makes every small model half as large again.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    if isinstance(graph, bytes):
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NO_FOLDER)
    return options
