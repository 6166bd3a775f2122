"""Reports of watching and orders to renew, in the database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, Engine, insert, select

from modelwright.adapters.stores import schema
from modelwright.adapters.stores.ledger import SqlLedger
from modelwright.adapters.stores.transactions import reading
from modelwright.core.access import Act
from modelwright.core.finding import Order, WatchReport
from modelwright.core.package import canonical_json
from modelwright.core.record_codec import from_json, to_json
from modelwright.core.registry import report_evidence

_REPORTS, _ORDERS = schema.reports, schema.orders


class SqlFindings:
    """Implements ``ports.store.FindingStore``."""

    def __init__(self, engine: Engine, ledger: SqlLedger) -> None:
        self._engine = engine
        self._ledger = ledger

    def add_report(self, report: WatchReport, *, act: Act, follows: float | None = None) -> int:
        """Keep a report and a ledger entry ``watch.report`` naming its findings; returns its id.

        The id is the sequence number of that entry. The same ``act.key`` gives the first id again. 0: another report
        than the one that it ``follows`` is the newest.
        """
        action = "watch.report"
        with self._ledger.acting() as connection:
            first = self._ledger.first(connection, action, report.model, act)
            if first is not None:
                return first.sequence
            if follows is not None and follows != self._end(connection, report.model):
                return 0
            sequence = self._ledger.record(connection, action, report.model, act, report_evidence(report)).sequence
            text = canonical_json(to_json(report)).decode()
            connection.execute(insert(_REPORTS).values(sequence=sequence, model=report.model, report=text))
            return sequence

    @staticmethod
    def _end(connection: Connection, model: str) -> float:
        query = select(_REPORTS.c.report).where(_REPORTS.c.model == model).order_by(_REPORTS.c.sequence.desc())
        text = connection.execute(query.limit(1)).scalar()
        return 0.0 if text is None else from_json(WatchReport, json.loads(text), "A report").ends

    def reports(self, model: str, *, limit: int = 100) -> Sequence[WatchReport]:
        """Newest first, at most ``limit``."""
        query = select(_REPORTS.c.report).where(_REPORTS.c.model == model)
        query = query.order_by(_REPORTS.c.sequence.desc()).limit(limit)
        with reading(self._engine) as connection:
            return [
                from_json(WatchReport, json.loads(text), "A report") for text in connection.execute(query).scalars()
            ]

    def add_order(self, order: Order, *, act: Act) -> bool:
        """Keep an order; False when its key is already there, unless this very act (``act.key``) put it there."""
        action = "retrain.order"
        given = {"order": order.key}
        with self._ledger.acting() as connection:
            if self._ledger.first(connection, action, order.model, act, given) is not None:
                return True
            if connection.execute(select(_ORDERS.c.key).where(_ORDERS.c.key == order.key)).first() is not None:
                return False
            evidence = given | {"cause": order.cause, "why": order.reason, "at": order.at}
            sequence = self._ledger.record(connection, action, order.model, act, evidence).sequence
            connection.execute(insert(_ORDERS).values(asdict(order) | {"sequence": sequence}))
            return True

    def orders(self, model: str) -> Sequence[Order]:
        """Newest first."""
        query = select(_ORDERS).where(_ORDERS.c.model == model).order_by(_ORDERS.c.sequence.desc())
        with reading(self._engine) as connection:
            return [Order(row.model, row.cause, row.reason, row.at, row.key) for row in connection.execute(query)]
