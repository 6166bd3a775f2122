"""Whether sampled answers are right: numbers within a tolerance, everything else exactly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.bench.bodies import Request
from modelwright.bench.job import Protocol
from modelwright.bench.wire import flat_array, infer_outputs
from modelwright.core.errors import ModelwrightError


@dataclass(frozen=True, slots=True)
class Checked:
    """So many answers were looked at, so many of them could be compared, so many of those were wrong."""

    looked_at: int = 0
    compared: int = 0
    wrong: int = 0
    first_wrong: str = ""

    def __add__(self, other: Checked) -> Checked:
        return Checked(
            self.looked_at + other.looked_at,
            self.compared + other.compared,
            self.wrong + other.wrong,
            self.first_wrong or other.first_wrong,
        )


@dataclass(frozen=True, slots=True)
class Judge:
    """How answers are compared: numbers within ``tolerance``; only those of ``version`` (empty: of any)."""

    protocol: Protocol
    tolerance: float
    version: str = ""

    def check(self, samples: Sequence[tuple[int, bytes]], requests: Sequence[Request]) -> Checked:
        """Compare sampled answers with the right ones; one that cannot be read is wrong."""
        compared = wrong = 0
        first = ""
        for index, body in samples:
            try:
                version, found = infer_outputs(body) if self.protocol == "grpc" else http_outputs(body)
            except (ModelwrightError, ValueError, KeyError, TypeError):
                compared, wrong, first = compared + 1, wrong + 1, first or "an answer could not be read"
                continue
            expected = requests[index].answers
            if expected is None or self.version not in {"", version}:  # a canary may answer otherwise
                continue
            compared += 1
            differing = [name for name, right in expected.items() if not _agree(right, found.get(name), self.tolerance)]
            if differing:
                wrong, first = wrong + 1, first or f"output {differing[0]!r} is not what it should be"
        return Checked(len(samples), compared, wrong, first)


def http_outputs(body: bytes) -> tuple[str, dict[str, NDArray[Any]]]:
    """The version that answered over HTTP, and the outputs, flat; JSON, or with binary tensors behind it.

    Raises:
        ValueError, KeyError: it is no answer.
    """
    # Latin-1 gives every byte one character, so the end of the JSON is an offset in bytes
    _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    answer, found, at = json.loads(body[:end]), dict[str, NDArray[Any]](), end
    for output in answer["outputs"]:
        size = (output.get("parameters") or {}).get("binary_data_size")
        if size is None:
            values = [np.nan if value is None else value for value in output["data"]]
            found[output["name"]] = np.array(values, dtype=object if output["datatype"] == "BYTES" else None)
        else:
            found[output["name"]] = flat_array(output["datatype"], body[at : at + size])
            at += size
    return str(answer.get("model_version", "")), found


def _agree(expected: NDArray[Any], found: NDArray[Any] | None, tolerance: float) -> bool:
    if found is None or expected.size != found.size:
        return False
    expected = expected.reshape(-1)
    if expected.dtype.kind != "f":
        return bool((expected == found).all())
    wide, answer = expected.astype(np.float64), found.astype(np.float64)
    return bool(np.allclose(answer, wide, rtol=tolerance, atol=tolerance, equal_nan=True))


def tolerance_of(parity_tolerance: float | None) -> float:
    """What two right answers may differ by, relative to max(1, |value|): rows that ran together may round otherwise."""
    return max(parity_tolerance or 0.0, 1e-4)
