"""Runs one row of the matrix: train, pack, write, open, load, compare, time."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright import wiring
from modelwright.core.errors import ModelwrightError
from modelwright.core.package import Package
from modelwright.demo.matrix.case import Case, as_answers
from modelwright.demo.matrix.data import TRAIN, data_set
from modelwright.demo.matrix.result import Agreement, Latency, Row
from modelwright.features.columns import feeds
from modelwright.features.tabular import table
from modelwright.interfaces.embedded.packing import open_package, pack

CLOSE = 1e-3  # of new rows; the certificate holds the examples to its own, narrower one
FAR_SHARE = 0.02  # of new rows that may differ by more: at a split point two number types part


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is timed: ``rounds`` of each side in turn, each of about ``seconds``."""

    rounds: int = 7
    seconds: float = 0.03


def run_case(case: Case, effort: Effort, adapters: frozenset[str]) -> Row:
    """The row; whatever goes wrong stands in it."""
    missing = case.absent
    if missing or case.adapter not in adapters:
        why = f"{missing} is not installed." if missing else f"There is no adapter {case.adapter!r} here."
        return Row(case.family, case.model, case.data, "skipped", why=why)
    try:
        with tempfile.TemporaryDirectory(prefix="modelwright-matrix-") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _run(case, effort, Path(folder))
    except ModelwrightError as error:
        expected = error.code == case.refused
        return Row(
            case.family,
            case.model,
            case.data,
            "refused" if expected else "failed",
            why=case.because if expected else error.why,
            code=error.code,
            message=error.what,
        )
    except Exception as error:  # noqa: BLE001 - any library may raise anything; the row says it
        message = f"{type(error).__name__}: {str(error)[:300]}"
        return Row(case.family, case.model, case.data, "failed", code="matrix.unexpected", message=message)


def _run(case: Case, effort: Effort, folder: Path) -> Row:
    data = data_set(case.data)
    trained = case.train(data.seen, folder)
    began = time.perf_counter()
    made = pack(
        trained.model,
        name="matrix",
        examples=trained.examples(data.examples),
        native=case.native,
        options=trained.options,
    )
    path = made.save(folder / "matrix.mw")
    seconds = time.perf_counter() - began
    package = open_package(path).package
    runner = wiring.runners().load(package)
    try:
        new = trained.examples(data.new)
        agreement = compare(package, trained.ask(trained.prepare(data.new)), runner.run(_feeds(package, new)))
        one = data.rows[TRAIN : TRAIN + 1]
        fed = _feeds(package, trained.examples(one))
        ready = trained.prepare(one)
        packed, own, ratio = race(lambda: runner.run(fed), lambda: trained.ask(ready), effort)
    finally:
        runner.close()
    return _row(case, package, path, seconds, agreement, (packed, own, ratio))


def _row(
    case: Case,
    package: Package,
    path: Path,
    seconds: float,
    agreement: Agreement,
    timed: tuple[Latency, Latency, float],
) -> Row:
    parity, made = package.parity, package.description
    packed, own, ratio = timed
    far = case.refused or agreement.flips > agreement.rows * FAR_SHARE or not agreement.difference < np.inf
    message = "It was to be refused, and was packed." if case.refused else "Answers to new rows differ."
    return Row(
        case.family,
        case.model,
        case.data,
        "failed" if far else "packed",
        route="native" if package.native else "ONNX",
        why=made.notes.get("route", ""),
        certificate=Agreement(parity.rows, parity.max_difference, parity.label_flips) if parity else None,
        new=agreement,
        pack_seconds=seconds,
        package_bytes=path.stat().st_size,
        packed=packed,
        own=own,
        ratio=ratio,
        slower="" if ratio >= 1 else why_slower(case, package),
        code="matrix.answers-differ" if far else "",
        message=message if far else "",
    )


def why_slower(case: Case, package: Package) -> str:
    """One sentence on a row that the framework answers sooner."""
    if package.native is not None:
        return "It runs as code in a process of its own, and each call goes there and back."
    if case.family == "ONNX":
        return "Both are ONNX Runtime on the same graph; ours names the outputs besides."
    if any(word in case.model for word in ("Neighbors", "GaussianProcess")):
        return (
            "It measures the way to each training row: the library by code of its own, the graph by general operators."
        )
    return f"{case.family} answers one row of so small a model sooner than a call of ONNX Runtime returns."


def _feeds(package: Package, rows: Any) -> Mapping[str, NDArray[Any]]:
    signature = package.signature
    if signature.features:
        return feeds(signature, table(rows, [name for spec in signature.inputs for name in spec.features]))
    if isinstance(rows, Mapping):
        return {str(name): np.asarray(value) for name, value in rows.items()}
    return {signature.inputs[0].name: np.asarray(rows)}


def compare(package: Package, said: Any, answers: Mapping[str, NDArray[Any]]) -> Agreement:
    """The packed model's answers beside the framework's own: probabilities where it has them, else values or labels."""
    signature, own = package.signature, as_answers(said)
    scores = answers.get(signature.score_output) if signature.score_output else None
    numeric = own.dtype.kind in "fc"
    if scores is not None and numeric and own.ndim == 1 and scores.shape[1] == 2:
        own = np.stack([1 - own, own], axis=1)  # a raw booster says the second class's alone
    if scores is not None and numeric and own.shape == scores.shape:
        best = np.sort(own, axis=1)
        tied = best[:, -1] - best[:, -2] < CLOSE  # which of two equals is named is no answer
        flips = int(((own.argmax(axis=1) != scores.argmax(axis=1)) & ~tied).sum())
        return Agreement(len(own), _largest(own, scores), flips)
    held = answers[signature.label_output or next(iter(answers))]
    if not signature.label_output and own.ndim == 2 and own.shape[1] == len(answers) > 1:
        held = np.concatenate(
            [one.reshape(len(own), 1) for one in answers.values()], axis=1
        )  # an output for each target
    if own.dtype.kind in "biufc" and held.dtype.kind in "biufc":
        mine = held.reshape(own.shape)
        apart = np.abs(own - mine) > CLOSE * np.maximum(1, np.abs(own.astype(float)))
        return Agreement(len(own), _largest(own, mine), int(apart.reshape(len(own), -1).any(axis=1).sum()))
    flips = int((own.reshape(-1).astype(str) != held.reshape(-1).astype(str)).sum())
    return Agreement(len(own), float(flips > 0), flips)


def _largest(own: NDArray[Any], mine: NDArray[Any]) -> float:
    wanted, given = own.astype(float), mine.astype(float)
    return float(np.max(np.abs(wanted - given) / np.maximum(1, np.abs(wanted))))


def race(packed: Callable[[], Any], own: Callable[[], Any], effort: Effort) -> tuple[Latency, Latency, float]:
    """Both sides in turn, round by round, so that a busy moment of the machine hits both."""
    counts = [_count(call, effort.seconds) for call in (packed, own)]
    rounds = [(_median(packed, counts[0]), _median(own, counts[1])) for _ in range(effort.rounds)]
    ours, theirs = zip(*rounds, strict=True)
    ratio = statistics.median(its / our for our, its in rounds)
    return _latency(ours), _latency(theirs), ratio


def _count(call: Callable[[], Any], seconds: float) -> int:
    """How often it is called in a round."""
    for _ in range(3):
        call()
    return int(min(max(seconds / _median(call, 3), 5), 2000))


def _median(call: Callable[[], Any], count: int) -> float:
    taken = []
    for _ in range(count):
        began = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - began)
    return statistics.median(taken) / 1e9


def _latency(rounds: tuple[float, ...]) -> Latency:
    return Latency(statistics.median(rounds), min(rounds), max(rounds))
