"""The prediction log: a sink on the hot path, a queryable log off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelwright.core.prediction import Record

if TYPE_CHECKING:  # the reading side's words; a gateway only writes
    from modelwright.core.finding import Window
    from modelwright.core.signature import Signature
    from modelwright.core.table import Table


class RecordSink(Protocol):
    """What a gateway writes to. ``append`` only buffers; ``flush`` hands everything to the operating system."""

    def append(self, record: Record) -> None:
        """Buffer one record (encodes it; keeps no reference to its arrays)."""
        ...

    def flush(self) -> bool:
        """One write of all buffered frames, before the answers they belong to leave.

        False when the write failed (promise D3: the loss is counted and a gap record follows).
        """
        ...

    def close(self) -> None:
        """Flush, sync, seal."""
        ...


@dataclass(frozen=True, slots=True)
class ArmCount:
    """Evidence about one version in one role since a moment: answered, failed, and mean seconds in the runner.

    ``p95_duration`` is the 95th percentile of the same seconds, where the log can tell.
    """

    version: str
    role: str
    ok: int
    failed: int
    mean_duration: float
    p95_duration: float | None = None


class PredictionLog(Protocol):
    """Reads what sinks wrote: sealed segments as Parquet, live ones as they stand."""

    def joined(
        self,
        model: str,
        *,
        signature: Signature,
        window: Window | None = None,
        version: str | None = None,
        roles: Sequence[str] = (),
        status: str | None = "ok",
    ) -> Table:
        """One row per predicted row, by event time, with the latest ground truth where known.

        Columns: ``prediction_id``, ``row``, ``version``, ``role``, ``event_time``, ``received_at``, ``duration``,
        ``status``, ``input.<feature>`` ..., ``output.<tensor>`` or ``output.<tensor>.<class or index>`` ...,
        ``truth`` (float64 or object; missing where unknown), ``truth_at`` (NaN where unknown).

        ``model`` may be a graph's node (``graph/node``): ``row`` is the row of the graph's request, whose truth it has.
        """
        ...

    def arms(self, model: str, *, since: float) -> Sequence[ArmCount]:
        """Counts per version and role of records received since then (Unix seconds)."""
        ...

    def counts(self) -> dict[str, int]:
        """``predictions`` (rows), ``requests``, ``truths``, ``unknown_truths``, ``repeated_truths``, ``unlogged``."""
        ...

    def export(self, model: str, to: Path, *, signature: Signature, window: Window | None = None) -> int:
        """Write :meth:`joined` as Parquet, CSV or JSON lines by the file's suffix; returns the rows written."""
        ...
