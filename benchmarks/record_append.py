"""What the prediction log costs: encoding, appending and flushing, decoding, compacting, joining.

    python benchmarks/record_append.py [requests]

Each request is one row of 8 numbers and 4 texts with 2 outputs, answered by a champion and seen by a shadow, and gets a
truth. The directory is temporary. The limit of encoding is the same values through msgspec alone, without a schema.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from kit.figures import machine, ratio, rounds_of, row
from modelwright.core.prediction import PredictionRecord, TruthRecord
from modelwright.core.signature import Signature, TensorSpec
from modelwright.record.compact import compact
from modelwright.record.log import DuckLog
from modelwright.record.payload import Encoder
from modelwright.record.segments import RawSegment, listing
from modelwright.record.writer import SegmentWriter

ROUNDS = 5
NUMBERS = {f"number_{n}": np.array([[n + 0.5]], dtype=np.float32) for n in range(8)}
TEXTS = {f"text_{n}": np.array([["JFK"]], dtype=object) for n in range(4)}
OUTPUTS = {"label": np.array([1]), "probabilities": np.array([[0.2, 0.8]], dtype=np.float32)}
SIGNATURE = Signature(
    inputs=(
        *(TensorSpec(name, "FP32", (-1, 1)) for name in NUMBERS),
        *(TensorSpec(name, "BYTES", (-1, 1)) for name in TEXTS),
    ),
    outputs=(TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2))),
    task="binary",
    classes=("0", "1"),
    label_output="label",
    score_output="probabilities",
)


def record(number: int, version: str, role: str) -> PredictionRecord:
    at = 1.7e9 + number
    name = f"0192f3b2-0000-7000-8000-{number:012d}"
    return PredictionRecord(*("flights", version, role, name, at, at, 1e-4, "token", "ok", 1), NUMBERS | TEXTS, OUTPUTS)


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def encoding() -> None:
    encode, example, times = Encoder().encode, record(1, "3", "champion"), 10_000
    packed, pack = msgspec.msgpack.decode(encode(example)), msgspec.msgpack.Encoder().encode
    measures = {
        f"encode one record ({len(encode(example))} bytes)": lambda: seconds(
            lambda: [encode(example) for _ in range(times)]
        ),
        "limit: msgpack of its parts": lambda: seconds(lambda: [pack(packed) for _ in range(times)]),
    }
    (label, ours), (limit, theirs) = rounds_of(ROUNDS, measures).items()
    row(label, [taken / times * 1e6 for taken in ours], "us", note=f"{ratio(ours, theirs)} the limit")
    row(limit, [taken / times * 1e6 for taken in theirs], "us")


def appending(directory: Path, mode: str, batch: int, times: int) -> None:
    writer = SegmentWriter(directory / f"{mode}-{batch}", writer_id="bench", mode=mode)
    example = record(1, "3", "champion")

    def work() -> None:
        for _ in range(times):
            for _ in range(batch):
                writer.append(example)
            writer.flush()

    taken = [seconds(work) / times / batch * 1e6 for _ in range(ROUNDS)]
    writer.close()
    row(f"append and flush {batch} at a time, {mode}", taken, "us/record")


def writing(directory: Path, requests: int) -> None:
    writer = SegmentWriter(directory, writer_id="bench")
    for number in range(requests):
        writer.append(record(number, "3", "champion"))
        writer.append(record(number, "1", "shadow"))
        at = 1.7e9 + number + 100
        writer.append(TruthRecord("flights", f"0192f3b2-0000-7000-8000-{number:012d}", (number % 2,), at, at, "token"))
        writer.flush()
    writer.close()


def reading(directory: Path, requests: int) -> None:
    places = [directory / str(number) for number in range(ROUNDS)]
    for place in places:
        writing(place, requests)
    decoded, compacted, joined, counted = [], [], [], []
    for place in places:
        raw = listing(place).raw
        decoded.append(3 * requests / seconds(lambda raw=raw: [RawSegment().read(path) for path in raw.values()]))
        compacted.append(3 * requests / seconds(lambda place=place: compact(place)))
        log = DuckLog(place)
        joined.append(2 * requests / seconds(lambda log=log: log.joined("flights", signature=SIGNATURE)))
        counted.append(seconds(log.counts) * 1e3)
    row("decode raw segments", decoded, "records/s")
    row("seal into Parquet", compacted, "records/s")
    row("join with the truth, from Parquet", joined, "rows/s")
    row(f"counts of {requests} requests", counted, "ms")


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    machine()
    encoding()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        appending(directory, "batched", 1, 10_000)
        appending(directory, "batched", 100, 200)
        appending(directory, "sync", 100, 20)
        reading(directory / "log", requests)


if __name__ == "__main__":
    main()
