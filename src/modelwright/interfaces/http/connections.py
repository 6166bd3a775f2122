"""Who is connected: counted in and out, turned away where there are too many, and swept for deadlines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from operator import itemgetter

from modelwright.core.errors import ModelwrightError, UnavailableError
from modelwright.interfaces.http.connection import CLOSE, Connection
from modelwright.interfaces.http.message import Reply, render
from modelwright.settings import Settings

LATE_SECONDS = 0.1
"""Who is less late with the rest of a request is not dropped for a newcomer: it may be here, and not yet read."""


class Connections:
    """The connections that are counted in, and beside them those that linger after their last answer.

    Args:
        limits: the settings; how many there may be.
        refusal: makes the answer to one that is turned away.
    """

    def __init__(self, limits: Settings, refusal: Callable[[ModelwrightError], Reply]) -> None:
        self._limits, self._refusal = limits, refusal
        self._open: set[Connection] = set()
        self._lingering: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._late: list[tuple[float, Connection]] = []
        self._looked = 0.0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter([*self._open])

    @property
    def addresses(self) -> int:
        """How many addresses they come from."""
        return len(self._addresses)

    @property
    def busy(self) -> int:
        """Requests begun and not answered."""
        return sum(connection.busy for connection in self._open)

    # Connections call these.

    def enter(self, connection: Connection) -> None:
        """Count a connection in; where there are too many, the one that is latest with its request makes room."""
        address, most = connection.address, self._limits.max_connections_per_address
        if most and self._addresses[address] >= most:
            self._turn_away(connection, _too_many(f"{most} from your address are open."))
        elif len(self._open) >= self._limits.max_connections and not self._make_room():
            self._turn_away(connection, _too_many())
        else:
            self._open.add(connection)
            self._addresses[address] += 1

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        self._lingering.discard(connection)
        if connection not in self._open:
            return
        self._open.remove(connection)
        self._addresses[connection.address] -= 1
        if not self._addresses[connection.address]:
            del self._addresses[connection.address]

    def linger(self, connection: Connection) -> None:
        """Count out a connection that has its last answer; it lingers, while not too many do, so that it hears it."""
        self.leave(connection)
        if len(self._lingering) < self._limits.max_connections:
            self._lingering.add(connection)
        elif connection.transport is not None:
            connection.transport.close()

    # The server calls these.

    def sweep(self) -> None:
        """Act on deadlines that have passed; to be called a few times a second."""
        now, self._late = time.monotonic(), []
        for connection in (*self._open, *self._lingering):
            connection.sweep(now)

    def stop_idle(self) -> None:
        """Close those that nothing is owed to; the others close with their next answer."""
        for connection in self:
            connection.stop_when_idle()

    def close(self) -> None:
        """Close what is left."""
        for connection in self:
            if connection.transport is not None:
                connection.transport.close()

    def _make_room(self) -> bool:
        """Turn away who has kept us waiting longest for the rest of a request; False when nobody has."""
        now = time.monotonic()
        if not self._late and now > self._looked + LATE_SECONDS / 4:  # one look at all of them serves many newcomers
            self._looked = now
            late = ((connection.late(now), connection) for connection in self._open if not connection.exchanges)
            self._late = sorted((pair for pair in late if pair[0] > LATE_SECONDS), key=itemgetter(0))
        while self._late:
            connection = self._late.pop()[1]
            if connection in self._open and connection.late(now) > LATE_SECONDS and not connection.exchanges:
                self.leave(connection)
                self._turn_away(connection, _too_many())
                self.dropped += 1
                return True
        return False

    def _turn_away(self, connection: Connection, error: UnavailableError) -> None:
        """Tell a connection that is not counted in why."""
        connection.turn_away(render(self._refusal(error), connection=CLOSE))


def _too_many(why: str = "") -> UnavailableError:
    return UnavailableError("http.too-many-connections", "Too many connections.", why=why, fix="Try again later.")
