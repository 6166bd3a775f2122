"""The data planes of the HTTP tests, and servers that misbehave on purpose."""

import asyncio
import importlib.util
import socket
import threading
from pathlib import Path

import pytest

from modelwright.client import AsyncClient, Client, Retries

_spec = importlib.util.spec_from_file_location(
    "http_conftest", Path(__file__).parent.parent / "interfaces" / "http" / "conftest.py"
)
_http = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_http)
serve, people_package, iris_package = _http.serve, _http.people_package, _http.iris_package

QUICK = Retries(attempts=3, burst=10, base=0.001, most=0.002)


class Script(threading.Thread):
    """A server that follows a script: each request, on whatever connection, is answered by the next line of it.

    A line is bytes to send; None closes the connection without a word. A connection is closed where ``b"close"`` stands
    in the bytes, or the bytes are not a whole answer. After the last line it begins anew.
    """

    def __init__(self, *lines, context=None):
        super().__init__(daemon=True)
        self.lines, self.requests, self._context = lines, [], context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        if self._context:
            try:
                connection = self._context.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        with connection, connection.makefile("rb") as stream:
            while head := self._head(stream):
                lengths = [int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length")]
                body = stream.read(lengths[0]) if lengths else b""
                with self._lock:
                    line = self.lines[len(self.requests) % len(self.lines)]
                    self.requests.append((head, body))
                if line is None:
                    return
                try:
                    connection.sendall(line)
                except OSError:
                    return
                if b"content-length" not in line or b"close" in line:
                    return

    @staticmethod
    def _head(stream):
        lines = []
        while (line := stream.readline().rstrip()) or not lines:
            if not line:
                return []
            lines.append(line)
        return lines

    def close(self):
        self._listener.close()


@pytest.fixture
def script():
    """``script(line, ...)``: a server that answers so."""
    made = []

    def start(*lines, context=None):
        made.append(Script(*lines, context=context))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def reply():
    """``reply(status, body, **headers)``: the bytes of an answer."""

    def make(status=200, body=b"{}", **headers):
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body

    return make


class Awaited:
    """The asynchronous client as if it were the other one: the same claims hold for both."""

    def __init__(self, url, **options):
        self._runner = asyncio.Runner()
        self._client = AsyncClient(url, **options)

    def __getattr__(self, name):
        return lambda *given, **named: self._runner.run(getattr(self._client, name)(*given, **named))

    def end(self):
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture(params=["threads", "asyncio"])
def connect(request):
    """``connect(url, ...)``: a client of either kind, closed at the end."""
    made = []

    def make(url, **options):
        options = {"retries": QUICK, "timeout": 20.0} | options
        made.append((Client if request.param == "threads" else Awaited)(url, **options))
        return made[-1]

    yield make
    for one in made:
        (one.close if request.param == "threads" else one.end)()
