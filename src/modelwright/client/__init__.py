"""A client of a served model, in rows and named answers: ``Client`` and, for asyncio, ``AsyncClient``.

>>> from modelwright.client import Client
>>> with Client("http://127.0.0.1:8080", token="mw_...") as client:  # doctest: +SKIP
...     client.predict("flight-delay", rows).to_pandas()

It knows the wire and nothing of the server: any server of the Open Inference Protocol will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwright.client.blocking import Client
from modelwright.client.model import ServedModel
from modelwright.client.predictions import Predictions
from modelwright.client.retries import Retries

if TYPE_CHECKING:
    from modelwright.client.asynchronous import AsyncClient as AsyncClient

__all__ = ["AsyncClient", "Client", "Predictions", "Retries", "ServedModel"]


def __getattr__(name: str) -> object:
    """Load the client of asyncio on first use: asyncio costs a third of the whole import."""
    if name == "AsyncClient":
        from modelwright.client.asynchronous import AsyncClient  # lazy: see above

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
