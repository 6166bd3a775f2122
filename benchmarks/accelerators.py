"""What a run costs on each device that ONNX Runtime can use here, beside the CPU; says why where there is none.

    python benchmarks/accelerators.py

A perceptron of two layers of 2,048, where a device has something to do, at 1 to 1,024 rows; answers are compared.
"""

import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from kit.figures import machine, ratio, row
from modelwright.adapters.runners.providers import PROVIDERS
from modelwright.adapters.runners.sessions import Sessions, open_session
from modelwright.core.device import KINDS, Placement, parse_devices
from modelwright.core.errors import UnavailableError

WIDTH, ROUNDS, CALLS = 2048, 7, 5
ROWS = (1, 32, 1024)


def graph() -> bytes:
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.02, (WIDTH, WIDTH)).astype(np.float32) for name in ("a", "b")}
    nodes = [
        helper.make_node("MatMul", ["X", "a"], ["s"]),
        helper.make_node("Relu", ["s"], ["t"]),
        helper.make_node("MatMul", ["t", "b"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, WIDTH]) for name in ("X", "y")]
    constants = [numpy_helper.from_array(value, key) for key, value in weights.items()]
    made = helper.make_graph(nodes, "perceptron", ends[:1], ends[1:], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def opened(kind: str, model: bytes) -> tuple[object, Placement]:
    available = onnxruntime.get_available_providers()
    wish = parse_devices(kind)
    sessions, placement = Sessions(wish, memory_bytes=0, available=available, opener=open_session).open(
        model, name=kind, threads=1
    )
    return sessions[0], placement


def milliseconds(session: object, rows: np.ndarray) -> float:
    began = time.perf_counter()
    for _ in range(CALLS):
        session.run(None, {"X": rows})
    return (time.perf_counter() - began) / CALLS * 1e3


def main() -> None:
    machine()
    model = graph()
    cpu, _ = opened("cpu", model)
    others = {}
    for kind in KINDS[1:]:
        try:
            others[kind], _ = opened(kind, model)
        except UnavailableError as error:
            print(f"skipped {kind} ({PROVIDERS[kind].package}): {error.why}")
    random = np.random.default_rng(1)
    for count in ROWS:
        rows = random.normal(size=(count, WIDTH)).astype(np.float32)
        sessions = {"cpu": cpu, **others}
        figures: dict[str, list[float]] = {kind: [] for kind in sessions}
        for session in sessions.values():
            difference = np.abs(session.run(None, {"X": rows})[0] - cpu.run(None, {"X": rows})[0]).max()
            assert difference < 1e-3, difference
        for _ in range(ROUNDS):
            for kind, session in sessions.items():
                figures[kind].append(milliseconds(session, rows))
        for kind, taken in figures.items():
            row(f"{kind}: {count} rows", taken, "ms", note=f"{ratio(taken, figures['cpu'])} the CPU")


if __name__ == "__main__":
    main()
