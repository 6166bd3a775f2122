"""What a check found: figures with intervals, gates with reasons, and the comparison with the champion."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelwright.core.metric import Metric
from modelwright.core.slices import Slices


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition: what was measured, what was demanded, and what to do when it fails."""

    name: str
    passed: bool
    figure: float | None
    threshold: float | None
    why: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidate minus champion on the same rows, with the paired bootstrap 95 % interval of the difference."""

    champion_version: str
    metric: str
    champion: float
    candidate: float
    difference: float
    low: float
    high: float
    greater_is_better: bool
    rows: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """``passed`` is true when every gate passed. ``slices``: by each column that was asked for; none: not measured."""

    package_digest: str
    task: str
    rows: int
    metrics: tuple[Metric, ...]
    gates: tuple[Gate, ...]
    comparison: Comparison | None = None
    data_digest: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    slices: tuple[Slices, ...] = ()

    @property
    def passed(self) -> bool:
        """True when no gate said no."""
        return all(gate.passed for gate in self.gates)

    @property
    def refusals(self) -> tuple[Gate, ...]:
        """The gates that said no."""
        return tuple(gate for gate in self.gates if not gate.passed)
