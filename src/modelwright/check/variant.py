"""What a variant of a model costs and gains: accuracy, size and latency against the model that it came from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.check.answers import answer
from modelwright.check.gates import single_feeds
from modelwright.core.package import Package
from modelwright.core.table import Column, Table
from modelwright.ports.runner import Runner
from modelwright.stats import bootstrap, statistic

LATENCY_ROUNDS = 200
WARM_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Change:
    """A metric of the variant, and variant minus base with its 95 % interval (paired bootstrap on the same rows)."""

    value: float
    change: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """The certificate of a variant against the package it came from.

    ``latency_ms`` is the variant's median of one row; ``latency_ratio`` the median of variant over base, run one after
    the other in each of ``rounds`` rounds, with the 95 % interval of that median. ``label_flips`` counts rows
    whose label differs, and ``max_difference`` is that of a probability or a value.
    """

    rows: int
    metrics: Mapping[str, Change]
    label_flips: int
    max_difference: float
    size: int
    size_ratio: float
    latency_ms: float
    latency_ratio: float
    latency_low: float
    latency_high: float
    rounds: int


def evidence(
    base: Package, variant: Package, rows: Table, truth: Column, *, runners: tuple[Runner, Runner], model: str
) -> Evidence:
    """Measure a variant against its base.

    Args:
        base: the package that the variant was made from.
        variant: the variant.
        rows: feature rows with known truth.
        truth: their truth, [n].
        runners: base and variant, loaded.
        model: name of the file in both packages whose size is compared.
    """
    before, after = answer(base, runners[0], rows), answer(variant, runners[1], rows)
    ours, theirs = after.statistics(truth), before.statistics(truth)
    changes = {}
    for name in [name for name in ours if name in theirs and np.isfinite(ours[name].value)]:
        spread = bootstrap.paired_interval(ours[name], theirs[name])
        changes[name] = Change(ours[name].value, spread.value, spread.low, spread.high)
    flips = 0
    if before.label is not None and after.label is not None and base.signature.task != "regression":
        flips = int((before.label.astype(str) != after.label.astype(str)).sum())
    wide, other = before.principal(), after.principal()
    difference = 0.0
    if wide.dtype.kind == "f":
        difference = float(np.abs(wide.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))
    size, was = variant.manifest.files[model].size, base.manifest.files[model].size
    spent = _latencies(single_feeds(base, rows), runners)
    ratios = spent[:, 1] / spent[:, 0]
    spread = bootstrap.interval(statistic.median(ratios))
    return Evidence(
        rows=len(rows),
        metrics=changes,
        label_flips=flips,
        max_difference=difference,
        size=size,
        size_ratio=size / was,
        latency_ms=float(np.median(spent[:, 1])) * 1000,
        latency_ratio=spread.value,
        latency_low=spread.low,
        latency_high=spread.high,
        rounds=len(spent),
    )


def _latencies(single: list[dict[str, NDArray[Any]]], runners: tuple[Runner, Runner]) -> NDArray[np.float64]:
    """Seconds of [round, (base, variant)]; who runs first takes turns, so that neither finds the other's warm cache."""
    spent = np.zeros((LATENCY_ROUNDS + WARM_ROUNDS, 2))
    for number in range(len(spent)):
        for side in (0, 1) if number % 2 else (1, 0):
            began = time.perf_counter()
            runners[side].run(single[number % len(single)])
            spent[number, side] = time.perf_counter() - began
    return spent[WARM_ROUNDS:]
