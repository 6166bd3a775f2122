"""The record of every request: each is on record before its answer leaves (promise D2)."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core.prediction import ROWS_OF_REQUEST, PredictionRecord, node_model
from modelwright.ports.record import RecordSink
from modelwright.ports.runner import Feeds
from modelwright.ports.trace import Trace
from modelwright.serve.call import PredictCall
from modelwright.serve.lane import Ticket
from modelwright.serve.route import LiveArm
from modelwright.serve.tally import Tally


class Recording:
    """Appends records, and counts what it records.

    Args:
        sink: where records go.
        tally: counts.
    """

    def __init__(self, sink: RecordSink, tally: Tally) -> None:
        self._append, self._count = sink.append, tally.count

    def request(
        self,
        arm: LiveArm,
        call: PredictCall,
        feeds: Feeds,
        outputs: Feeds,
        rows: int,
        duration: float,
        status: str,
    ) -> None:
        """One request at one arm: what it was asked, what it answered, and what became of it."""
        self._count(arm.model, arm.version, arm.role, status, rows)
        event_time = call.received_at if call.event_time is None else call.event_time
        self._append(
            PredictionRecord(
                arm.model,
                arm.version,
                arm.role,
                call.prediction_id,
                event_time,
                call.received_at,
                duration,
                call.actor,
                status,
                rows,
                feeds if arm.loaded.check.batched else by_row(feeds, rows),
                by_row(outputs, rows),
            )
        )

    def stream(self, ticket: Ticket, outputs: Feeds, seconds: float, status: str) -> None:
        """An answer in chunks, which ends with ``outputs``."""
        sent = ticket.feeds if ticket.sent is None else ticket.sent
        self.request(ticket.arm, ticket.call, sent, outputs, ticket.rows, seconds, status)

    def nodes(self, arm: LiveArm, call: PredictCall, traces: Sequence[Trace]) -> None:
        """A record for each node of a graph, under the graph's name and its own."""
        event_time = call.received_at if call.event_time is None else call.event_time
        for trace in traces:
            outputs = by_row(trace.outputs, trace.count)
            if trace.rows is not None:
                outputs = {**outputs, ROWS_OF_REQUEST: trace.rows}
            self._append(
                PredictionRecord(
                    node_model(arm.model, trace.node),
                    arm.version,
                    "node",
                    call.prediction_id,
                    event_time,
                    call.received_at,
                    trace.duration,
                    call.actor,
                    trace.status,
                    trace.count,
                    {},
                    outputs,
                )
            )


def by_row(tensors: Feeds, rows: int) -> Feeds:
    """Tensors whose first axis has ``rows`` entries, as a record wants them; without a row axis one is added."""
    for tensor in tensors.values():
        if tensor.shape[:1] != (rows,):
            return {
                name: t if t.shape[:1] == (rows,) else t.reshape(1, *t.shape)
                for name, t in tensors.items()
                if rows == 1 or t.shape[:1] == (rows,)
            }
    return tensors
