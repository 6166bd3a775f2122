"""What is deployed, in the database."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from sqlalchemy import Engine, delete, insert, select

from modelwright.adapters.stores import schema
from modelwright.adapters.stores.epoch import current_epoch, next_epoch
from modelwright.adapters.stores.ledger import SqlLedger
from modelwright.adapters.stores.tokens import live_grants
from modelwright.adapters.stores.transactions import reading
from modelwright.adapters.stores.trust import signatures, trusted
from modelwright.core.access import Act
from modelwright.core.names import require_model_name
from modelwright.core.package import canonical_json
from modelwright.core.record_codec import from_json, to_json
from modelwright.core.registry import on_routes, require_route
from modelwright.core.version import Route, RoutingTable

_ROUTES = schema.routes


class SqlRoutes:
    """Implements ``ports.store.RouteStore``."""

    def __init__(self, engine: Engine, ledger: SqlLedger, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._ledger = ledger
        self._now = now

    def set_route(self, route: Route, *, act: Act, expected: Route | None = None) -> int:
        """Replace a model's route, write the ledger entry, and return the new epoch.

        The same ``act.key`` gives the first epoch again, whatever the route is by now.

        Raises:
            BadInputError: ``register.bad-name``.
            ConflictError: ``ledger.key-reused``, ``deploy.route-moved``.
        """
        require_model_name(route.model)
        action = "deploy.set-route"
        with self._ledger.acting() as connection:
            first = self._ledger.first(connection, action, route.model, act)
            if first is not None:
                return int(str(first.evidence["epoch"]))
            text = connection.execute(select(_ROUTES.c.route).where(_ROUTES.c.model == route.model)).scalar()
            require_route(None if text is None else _route(text), expected, route.model)
            epoch = next_epoch(connection)
            self._ledger.record(connection, action, route.model, act, {"route": to_json(route), "epoch": epoch})
            connection.execute(delete(_ROUTES).where(_ROUTES.c.model == route.model))
            text = canonical_json(to_json(route)).decode()
            connection.execute(insert(_ROUTES).values(model=route.model, route=text))
            return epoch

    def route(self, model: str) -> Route | None:
        """The model's route, or None when nothing of it is deployed."""
        with reading(self._engine) as connection:
            text = connection.execute(select(_ROUTES.c.route).where(_ROUTES.c.model == model)).scalar()
        return None if text is None else _route(text)

    def table(self) -> RoutingTable:
        """Routes and live tokens under the current epoch."""
        with reading(self._engine) as connection:
            texts = connection.execute(select(_ROUTES.c.route).order_by(_ROUTES.c.model)).scalars()
            routes = [_route(text) for text in texts]
            return RoutingTable(
                epoch=current_epoch(connection),
                routes={route.model: route for route in routes},
                tokens=live_grants(connection, self._now()),
                trusted=tuple(trusted(connection)),
                signatures=on_routes(routes, signatures(connection)),
            )


def _route(text: str) -> Route:
    return from_json(Route, json.loads(text), "A route")
