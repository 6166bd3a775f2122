"""The client for threads: calls wait for their answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, Self, TypeVar

from modelwright.client.address import address
from modelwright.client.calls import Calls
from modelwright.client.model import ServedModel
from modelwright.client.predictions import Predictions
from modelwright.client.retries import Retries
from modelwright.client.sockets import SocketPool
from modelwright.client.steps import Exchanges, Send, Steps
from modelwright.client.wire import Lost, Reply, Writer

T = TypeVar("T")
USUAL = Retries()


class Client:
    """Asks a server for predictions. Safe to use from many threads; connections are kept and shared.

    Redirects are not followed and proxies of the environment are not used: both would carry the token elsewhere.

    Args:
        url: ``http://host:port`` or ``https://host:port``.
        token: access token, sent as a bearer token.
        timeout: seconds for a whole call with its retries, where the call names no ``deadline``.
        retries: how failed requests are tried again; ``Retries(attempts=0)``: not at all.
        pool: most connections at once.
        ca: PEM file of the authority that signed the server's certificate; empty: the system's.
        certificate: this client's certificate: a PEM file with its key, or (certificate, key).

    Raises:
        BadInputError: ``client.bad-url``, ``client.bad-token``, ``client.bad-certificate``.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        timeout: float = 30.0,
        retries: Retries = USUAL,
        pool: int = 32,
        ca: str = "",
        certificate: str | tuple[str, str] = "",
    ) -> None:
        server = address(url, ca, certificate)
        self._calls = Calls(Exchanges(server.url, Writer(server, token), retries), timeout)
        self._timeout = timeout
        self._pool = SocketPool(server, max(1, pool))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections; a later call makes new ones."""
        self._pool.close()

    def ready(self, model: str = "") -> bool:
        """True when the server (with ``model``, that model) can answer; False also where nothing answers.

        Raises:
            ModelwrightError: the server cannot be asked: its certificate is not trusted, the token is unknown.
        """
        return self._take(self._calls.ready(model))

    def models(self) -> list[str]:
        """The names of the models that are served.

        Raises:
            ModelwrightError: as :meth:`predict`.
        """
        return self._take(self._calls.models())

    def metadata(self, model: str, version: str = "") -> ServedModel:
        """What the server says of a model: tensors, columns, classes.

        Raises:
            ModelwrightError: as :meth:`predict`.
        """
        return self._take(self._calls.metadata(model, version))

    def predict(
        self,
        model: str,
        rows: Any,
        *,
        version: str = "",
        outputs: Sequence[str] | None = None,
        id: str = "",  # noqa: A002 - the protocol's name
        event_time: float | str | datetime | None = None,
        deadline: float | None = None,
        priority: int = 0,
    ) -> Predictions:
        """The model's answer to rows.

        Args:
            model: its name.
            rows: a data frame (pandas, polars), an Arrow table, a list of row dictionaries, a dictionary of columns, an
                array ([rows, columns], in the model's order), or a dictionary of tensors by input name.
            version: empty: whatever the server routes to.
            outputs: names of the output tensors wanted; None: all.
            id: the prediction's id, at most 128 characters; empty: one is made. A retry has the same one.
            event_time: when the event was: Unix seconds, ISO 8601 text or a datetime; None: now.
            deadline: seconds for this call with its retries; the server is told, and drops the call then too.
            priority: 1 (first) to 10 among this caller's waiting requests; 0: the usual one.

        Raises:
            BadInputError: the rows do not fit the model.
            NotFoundError: no such model or version.
            UnavailableError, ThrottledError, DeadlineError: not now, also after the retries.
            ModelwrightError: what else the server says, with its code.
        """
        steps = self._calls.predict(
            model,
            rows,
            version=version,
            outputs=outputs,
            identity=id,
            event_time=event_time,
            deadline=deadline,
            priority=priority,
        )
        return self._take(steps)

    def stream(
        self,
        model: str,
        rows: Any,
        *,
        version: str = "",
        outputs: Sequence[str] | None = None,
        id: str = "",  # noqa: A002 - the protocol's name
        event_time: float | str | datetime | None = None,
        deadline: float | None = None,
    ) -> Iterator[Predictions]:
        """The model's answer in chunks, as the model makes them; a model that makes none answers in one.

        Each chunk is as :meth:`predict`'s answer, with any number of rows. The server makes a few chunks ahead, and
        waits while none is asked for; leave the loop, or close the iterator, and the model stops. Nothing is retried.

        Args:
            model: its name.
            rows: as for :meth:`predict`.
            version: empty: whatever the server routes to.
            outputs: names of the output tensors wanted; None: all.
            id: the prediction's id; empty: one is made.
            event_time: when the event was; None: now.
            deadline: seconds for the whole answer; None: what the server allows. Each chunk may take the ``timeout`` of
                the client.

        Raises:
            ModelwrightError: as :meth:`predict`, before the first chunk or in the middle; ``client.answer-cut-off``
                where the answer ends without its last event.
        """
        steps = self._calls.stream(
            model,
            rows,
            version=version,
            outputs=outputs,
            identity=id,
            event_time=event_time,
            deadline=deadline,
        )
        parts, reader = self._take(steps)
        with closing(self._pool.bytes_of(parts, self._timeout)) as arriving:
            for data in arriving:
                yield from reader.feed(data)
                if reader.over:
                    return

    def truth(
        self,
        model: str,
        ids: str | Sequence[str] | Any,
        values: Any,
        *,
        event_time: float | str | datetime | None = None,
        deadline: float | None = None,
    ) -> int:
        """Send ground truth; gives the number of predictions that it was accepted for.

        Args:
            model: its name.
            ids: one prediction's id, or a sequence of ids; an id that stands there several times is one prediction of
                as many rows, in their order.
            values: for one id its value, or its values in row order; for a sequence one for each.
            event_time: when it became known: Unix seconds, ISO 8601 text or a datetime; None: now.
            deadline: seconds for the call.

        Raises:
            BadInputError: ``client.bad-truth``, ``record.bad-truth``.
            ModelwrightError: as :meth:`predict`.
        """
        return self._take(self._calls.truth(model, ids, values, event_time=event_time, deadline=deadline))

    def _take(self, steps: Steps[T]) -> T:
        outcome: Reply | Lost | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # a generator's value has its type
            if isinstance(step, Send):
                outcome = self._pool.exchange(step.parts, step.limit)
            else:
                time.sleep(step.seconds)
                outcome = None
