"""What a gateway's metrics say beside its counts, read when they are scraped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from modelwright.processes.observing import dropped
from modelwright.processes.predicting import Predicting
from modelwright.processes.table_serving import epoch_of
from modelwright.serve.observe import Observer


def readings_of(predicting: Predicting, observer: Observer | None) -> dict[tuple[str, str, str], Callable[[], float]]:
    """The readings by (name, help, kind)."""
    plane, sink = predicting.plane, predicting.sink
    return {
        ("modelwright_models_in_memory", "Versions in memory.", "gauge"): lambda: plane.residence.figures()[0],
        ("modelwright_model_bytes", "Bytes that the versions in memory hold.", "gauge"): (
            lambda: plane.residence.figures()[1]
        ),
        ("modelwright_log_bytes", "Bytes of the log segments of the gateways that live.", "gauge"): (
            lambda: _bytes_of(predicting.log, f"{predicting.writer_id}-")
        ),
        ("modelwright_unlogged_predictions", "Predicted rows that could not be logged.", "counter"): (
            lambda: sink.unlogged
        ),
        ("modelwright_dropped_access_lines", "Requests that the access log did not hold.", "counter"): (
            lambda: dropped(observer.access if observer else None)
        ),
        ("modelwright_dropped_traces", "Traced requests that the collector did not get.", "counter"): (
            lambda: dropped(observer.traces if observer else None)
        ),
        ("modelwright_routing_epoch", "Epoch of the routing table in force.", "lowest"): lambda: epoch_of(plane),
    }


def _bytes_of(log: Path, prefix: str) -> int:
    total = 0
    with contextlib.suppress(OSError), os.scandir(log) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                with contextlib.suppress(OSError):  # compacted meanwhile
                    total += entry.stat().st_size
    return total
