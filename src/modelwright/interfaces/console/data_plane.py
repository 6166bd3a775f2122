"""The gateway beside this process, asked with the visitor's own token: the gateway decides, and records who asked."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

from modelwright.core.errors import UnavailableError

PATIENCE_SECONDS = 10.0
MAX_ANSWER_BYTES = 2**20
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a listener on all addresses is reached from here


@dataclass(frozen=True, slots=True)
class Said:
    """An answer; header names are in lower case, ``seconds`` is from the connection's begin to the body's end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class DataPlane:
    """A client that takes no proxy and follows no redirect, so that a token goes to the gateway or nowhere.

    Args:
        host: where the gateway listens.
        port: its port.
        tls: how to know the gateway; None where it speaks plain HTTP.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._host, self._port, self._tls = _ANYWHERE.get(host, host), port, tls

    def post(self, path: str, body: bytes, token: str) -> Said:
        """Send JSON and wait for the answer.

        Raises:
            UnavailableError: ``console.no-data-plane``: it does not answer (in time), or too much.
        """
        began = time.perf_counter()
        connection = self._connection()
        try:
            connection.request(
                "POST",
                path,
                body,
                {
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/json",
                    "Modelwright-Timeout-Ms": f"{1000 * PATIENCE_SECONDS:.0f}",
                },
            )
            answer = connection.getresponse()
            content = answer.read(MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise _silent(self._host, self._port, f"{error or type(error).__name__}.") from error
        finally:
            connection.close()
        if len(content) > MAX_ANSWER_BYTES:
            raise _silent(self._host, self._port, f"Its answer is over {MAX_ANSWER_BYTES} bytes.")
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Said(answer.status, headers, content, time.perf_counter() - began)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE_SECONDS)
        return http.client.HTTPSConnection(self._host, self._port, timeout=PATIENCE_SECONDS, context=self._tls)


def _silent(host: str, port: int, why: str) -> UnavailableError:
    return UnavailableError(
        "console.no-data-plane",
        f"The data plane at {host}:{port} gave no answer.",
        why=why,
        fix="See the gateway's log.",
    )
