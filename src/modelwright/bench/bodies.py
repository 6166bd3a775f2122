"""Requests made from rows: several bodies of varied rows, and the right answers to them where those are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.bench import wire
from modelwright.bench.job import Protocol
from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES, Feature, Signature, TensorSpec

Tensors = Mapping[str, NDArray[Any]]
BODIES = 61
"""So many different requests are sent in turn: one repeated body trains the branch predictor, not the server.

A prime: answers are sampled at even distances, and must not always be those of the same requests.
"""
MIXED_ROWS = 256


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to ask with, [n, ...] under the inputs' names, and what they are (``source``, for the report).

    ``answers``: right outputs [n, ...] of the first ``known`` rows, where rows stand alone.
    """

    inputs: Tensors
    source: str
    answers: Tensors
    known: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its bytes, and the right outputs (None: unknown)."""

    content: bytes
    answers: Tensors | None


def mixed(rows: Rows, *, seed: int = 0) -> Rows:
    """More rows, for a model with few examples: every column takes a value that some row has in it.

    Their right answers are not known; those of the rows given stay in front. Tensors of more than two dimensions are
    left as they are.
    """
    count = len(rows)
    if count < 2 or count >= MIXED_ROWS or any(tensor.ndim > 2 for tensor in rows.inputs.values()):
        return rows
    random, more = np.random.default_rng(seed), MIXED_ROWS - count
    inputs = {}
    for name, tensor in rows.inputs.items():
        flat = tensor.reshape(count, -1)
        chosen = random.integers(0, count, (more, flat.shape[1]))
        drawn = np.take_along_axis(flat, chosen, axis=0)
        inputs[name] = np.concatenate([tensor, drawn.reshape(more, *tensor.shape[1:])])
    return Rows(inputs, f"{rows.source}, and their columns mixed", rows.answers, rows.known)


def invented(signature: Signature, *, seed: int = 0) -> Rows:
    """Rows from the signature alone: numbers within the features' bounds, levels that the features list.

    Raises:
        BadInputError: ``bench.no-rows`` when a dimension other than the first is open.
    """
    random = np.random.default_rng(seed)
    features = {feature.name: feature for feature in signature.features}
    inputs = {}
    for spec in signature.inputs:
        if any(size < 0 for size in spec.shape[1:]):
            raise BadInputError(
                "bench.no-rows",
                f"There are no rows to ask with: input {spec.name!r} has open dimensions.",
                why="No golden rows of the model are known here.",
                fix="Give rows with --data FILE.",
            )
        inputs[spec.name] = _draw(spec, features, random)
    return Rows(inputs, "invented from the signature", {})


def _draw(spec: TensorSpec, features: Mapping[str, Feature], random: np.random.Generator) -> NDArray[Any]:
    shape = (MIXED_ROWS, *spec.shape[1:])
    names = spec.features or (spec.name,)
    width = int(np.prod(shape[1:], dtype=int))
    columns = [_column(spec, features.get(name), random) for name in names] if len(names) == width else None
    if columns is not None:
        return np.stack(columns, axis=1).reshape(shape)
    return np.stack([_column(spec, None, random) for _ in range(width)], axis=1).reshape(shape)


def _column(spec: TensorSpec, feature: Feature | None, random: np.random.Generator) -> NDArray[Any]:
    dtype = DATATYPES[spec.datatype]
    if spec.datatype == "BYTES":
        levels = (feature.categories if feature else ()) or ("a", "b", "c")
        return np.array([levels[index] for index in random.integers(0, len(levels), MIXED_ROWS)], dtype=object)
    low = feature.low if feature and feature.low is not None else 0.0
    high = feature.high if feature and feature.high is not None else 1.0
    drawn = random.uniform(low, high, MIXED_ROWS)
    return drawn.astype(dtype) if dtype.kind == "f" else np.round(drawn).astype(dtype)


def requests_of(
    model: str,
    signature: Signature,
    rows: Rows,
    *,
    per_request: int,
    binary: bool,
    protocol: Protocol,
    host: str,
    token: str,
    seed: int = 0,
) -> list[Request]:
    """Whole requests of ``per_request`` rows each, drawn from ``rows``; the known ones are in front and sent as often.

    Raises:
        BadInputError: ``bench.not-json`` when a value can only be sent in binary.
    """
    random = np.random.default_rng(seed)
    requests = []
    for number in range(BODIES):
        known = rows.known if number % 2 == 0 or rows.known == len(rows) else 0
        chosen = random.integers(0, known or len(rows), per_request)
        inputs = {name: np.ascontiguousarray(tensor[chosen]) for name, tensor in rows.inputs.items()}
        answers = {name: tensor[chosen] for name, tensor in rows.answers.items()} if known else None
        if protocol == "grpc":
            content = wire.infer_request(model, signature.inputs, inputs)
        else:
            head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {host}\r\n"
            head += f"Authorization: Bearer {token}\r\n" if token else ""
            content = (binary_request if binary else json_request)(head, signature.inputs, inputs)
        requests.append(Request(content, answers))
    return requests


def json_request(head: str, specs: Sequence[TensorSpec], inputs: Tensors) -> bytes:
    """An HTTP request in JSON; NaN is ``null``."""
    body = json.dumps(
        {"inputs": [_described(spec, inputs) | {"data": _values(spec, inputs)} for spec in specs]}, allow_nan=False
    ).encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def binary_request(head: str, specs: Sequence[TensorSpec], inputs: Tensors) -> bytes:
    """An HTTP request with the tensors in binary; the answer is asked for in binary too."""
    raw = [wire.raw_bytes(inputs[spec.name]) for spec in specs]
    described = [
        _described(spec, inputs) | {"parameters": {"binary_data_size": len(part)}}
        for spec, part in zip(specs, raw, strict=True)
    ]
    front = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    body = b"".join((front, *raw))
    return (
        f"{head}Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {len(front)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _described(spec: TensorSpec, inputs: Tensors) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(inputs[spec.name].shape)}


def _values(spec: TensorSpec, inputs: Tensors) -> list[object]:
    tensor = inputs[spec.name].reshape(-1)
    if tensor.dtype.kind != "f":
        return list(tensor.tolist())
    if np.isinf(tensor).any():
        raise BadInputError(
            "bench.not-json",
            f"Input {spec.name!r} holds an infinite number.",
            fix="Add --binary: JSON has no infinity.",
        )
    short = np.round(tensor.astype(np.float64), 9) if tensor.dtype == np.float64 else tensor
    return [None if value != value else float(str(value)) for value in short]  # noqa: PLR0124 - NaN alone differs
