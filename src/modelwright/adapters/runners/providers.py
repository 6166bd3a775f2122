"""ONNX Runtime's execution providers: which one runs on a kind of device, and how it is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelwright.core.device import Kind

CPU = "CPUExecutionProvider"
Provider = tuple[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Known:
    """``name`` is ONNX Runtime's name of the provider, ``package`` the distribution that brings it."""

    name: str
    package: str


PROVIDERS: Mapping[Kind, Known] = {
    "cpu": Known(CPU, "onnxruntime"),
    "cuda": Known("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": Known("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "migraphx": Known("MIGraphXExecutionProvider", "onnxruntime-migraphx"),
    "openvino": Known("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "coreml": Known("CoreMLExecutionProvider", "onnxruntime"),
    "dml": Known("DmlExecutionProvider", "onnxruntime-directml"),
}


def providers(kind: Kind, number: int | None, memory_bytes: int) -> list[Provider]:
    """What a session on one device is made with, the most wanted first; the CPU takes what the device cannot run.

    Args:
        kind: of device.
        number: which device; None: the first.
        memory_bytes: the most that the device's arena may take; 0: any.
    """
    if kind == "cpu":
        return [(CPU, {})]
    chosen: list[Provider] = [
        (PROVIDERS[kind].name, _options(kind, number or 0, memory_bytes, numbered=number is not None))
    ]
    if kind == "tensorrt":  # what TensorRT cannot run
        chosen.append((PROVIDERS["cuda"].name, _options("cuda", number or 0, memory_bytes, numbered=True)))
    return [*chosen, (CPU, {})]


def _options(kind: Kind, number: int, memory_bytes: int, *, numbered: bool) -> dict[str, str]:
    if kind == "cuda":
        # An arena that doubles takes what nobody needs; TF32 rounds to 10 bits, which no golden answer survives.
        options = {"device_id": str(number), "arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"}
        return options | ({"gpu_mem_limit": str(memory_bytes)} if memory_bytes else {})
    if kind == "openvino":
        return {"device_type": f"GPU.{number}" if numbered else "CPU"}
    return {"device_id": str(number)} if kind in ("tensorrt", "migraphx", "dml") else {}
