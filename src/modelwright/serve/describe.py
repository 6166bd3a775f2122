"""What is said of a version beside its metadata, in the words of Triton's extensions: configuration and statistics.

The JSON forms of ``ModelConfig`` and ``ModelStatistics``, for every interface that speaks them.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from modelwright.core.signature import Signature, TensorSpec
from modelwright.serve.lane import MAX_ROWS
from modelwright.serve.load import Loaded
from modelwright.serve.plane import Plane
from modelwright.serve.route import LiveArm, LiveRoute
from modelwright.serve.statistics import Served


def platform_of(loaded: Loaded) -> str:
    """What runs a package, as ``<project>_<format>``: ONNX, a loader of ours in a process of its own, or a graph."""
    if loaded.package.native is not None:
        return f"modelwright_{loaded.package.native.loader}"
    return "onnx_onnxv1" if loaded.package.graph is None else "modelwright_graph"


def _backend(loaded: Loaded) -> str:
    if loaded.package.native is not None:
        return "python"
    return "onnxruntime" if loaded.package.graph is None else "modelwright"


def configuration(route: LiveRoute, arm: LiveArm) -> dict[str, object]:
    """A version's configuration.

    ``instance_group`` tells where it runs, while in memory. ``max_batch_size`` is 0 unless requests of one version
    may run together and every tensor has rows; then dims leave the rows out, as Triton's do.
    """
    loaded = arm.loaded
    rows = _batch_size(loaded)
    numbers = [int(version) for version in route.by_version if version.isdecimal()]
    instances = {"instance_group": [_instances(arm)]} if loaded.runner is not None else {}
    config: dict[str, object] = {
        "name": arm.model,
        "platform": platform_of(loaded),
        "backend": _backend(loaded),
        "version_policy": {"specific": {"versions": sorted(numbers)}},
        "max_batch_size": rows,
        "input": _tensors(loaded.signature.inputs, batched=rows > 0),
        "output": _tensors(loaded.signature.outputs, batched=rows > 0),
        "model_transaction_policy": {"decoupled": loaded.streams},
    }
    return config | instances | ({"dynamic_batching": {}} if loaded.batched else {})


def described_columns(signature: Signature) -> str:
    """What a client needs to make tensors of rows and to name answers, as JSON text; empty where there is nothing.

    The protocol's metadata knows tensors only; its ``properties`` map text to text.
    """
    inputs = {spec.name: spec.features for spec in signature.inputs if spec.features}
    if not (signature.features or signature.classes or inputs):
        return ""
    said = {
        "features": [
            {"name": one.name, "kind": one.kind, "nullable": one.nullable, "null_as": one.null_as}
            for one in signature.features
        ],
        "inputs": inputs,
        "task": signature.task,
        "classes": signature.classes,
        "label_output": signature.label_output,
        "score_output": signature.score_output,
        "target": signature.target,
    }
    return msgspec.json.encode(said).decode()


def statistics(plane: Plane, model: str, version: str) -> list[dict[str, object]]:
    """What a version, all versions of a model, or all versions of all models have done, in whatever role.

    Args:
        plane: what ran them.
        model: empty: all.
        version: empty: all.

    Raises:
        NotFoundError: ``serve.unknown-model``, ``serve.unknown-version``.
    """
    routes = [plane.route(model)] if model else plane.routes.values()
    asked = [(route.model, one) for route in routes for one in route.by_version]
    if model and version:
        plane.route(model).pinned(version)
        asked = [(model, version)]
    counted = plane.tally.statistics.read()
    return [
        _statistics(*one, counted.get(one) or Served()) | _memory(plane.route(one[0]).by_version[one[1]].loaded)
        for one in asked
    ]


def _memory(loaded: Loaded) -> dict[str, object]:
    """What the version holds in this process, while it is in memory."""
    if loaded.runner is None:
        return {}
    return {"memory_usage": [{"type": "CPU", "id": 0, "byte_size": loaded.memory_bytes}]}


def _instances(arm: LiveArm) -> dict[str, object]:
    """Runs at once, in all on the CPU and on each of the devices else."""
    assert arm.loaded.runner is not None
    placement = arm.loaded.runner.placement
    if placement.kind == "cpu":
        return {"name": f"{arm.model}_cpu", "kind": "KIND_CPU", "count": placement.instances}
    name = f"{arm.model}_{placement.kind}"
    return {"name": name, "kind": "KIND_GPU", "count": 1, "gpus": list(placement.ids) or [0]}


def _statistics(model: str, version: str, served: Served) -> dict[str, object]:
    """A version's statistics. What a miss costs is part of the request's input, and not told apart."""
    total = served.total()
    answered = total.requests
    infer = total.infer_seconds + total.shared_infer_seconds
    output = total.output_seconds + total.shared_output_seconds
    success = total.input_seconds + total.queue_seconds + infer + output
    return {
        "name": model,
        "version": version,
        "last_inference": int(served.last * 1000),
        "inference_count": total.rows,
        "execution_count": total.runs,
        "inference_stats": {
            "success": _duration(answered + served.reused, success + served.reused_seconds),
            "fail": _duration(served.failed, served.failed_seconds),
            "queue": _duration(answered, total.queue_seconds),
            "compute_input": _duration(answered, total.input_seconds),
            "compute_infer": _duration(answered, infer),
            "compute_output": _duration(answered, output),
            "cache_hit": _duration(served.reused, served.reused_seconds),
            "cache_miss": _duration(served.missed, 0.0),
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _duration(runs.runs, runs.input_seconds),
                "compute_infer": _duration(runs.runs, runs.infer_seconds),
                "compute_output": _duration(runs.runs, runs.output_seconds),
            }
            for size, runs in sorted(served.batches.items())
        ],
    }


def _batch_size(loaded: Loaded) -> int:
    """The most rows of a run of several requests; 0 where there is none, or some output has no rows."""
    rows_out = all(spec.shape[:1] == (-1,) for spec in loaded.signature.outputs)
    return MAX_ROWS if loaded.batched and rows_out else 0


def _tensors(specs: Iterable[TensorSpec], *, batched: bool) -> list[dict[str, object]]:
    return [
        {
            "name": spec.name,
            "data_type": f"TYPE_{'STRING' if spec.datatype == 'BYTES' else spec.datatype}",
            "dims": list(spec.shape[1:] if batched else spec.shape),
        }
        for spec in specs
    ]


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(seconds * 1e9)}
