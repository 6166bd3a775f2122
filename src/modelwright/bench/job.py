"""What a generator is told and what it answers; both cross a pipe as MessagePack."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import IO, Literal, TypeVar

import msgspec

from modelwright.bench.schedule import Arrivals

Protocol = Literal["http", "grpc"]
_LENGTH = struct.Struct("<Q")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Job:
    """Whom to ask, and with what. ``requests`` are whole HTTP/1.1 requests, or messages of gRPC.

    ``ca`` is a PEM file to trust instead of the system's certificates; ``cores`` those to run on (empty: any).
    ``patience``: seconds after the end of a load in which answers are still waited for.
    """

    host: str
    port: int
    requests: list[bytes]
    protocol: Protocol = "http"
    tls: bool = False
    ca: str = ""
    token: str = ""
    cores: tuple[int, ...] = ()
    patience: float = 5.0


@dataclass(frozen=True, slots=True)
class Load:
    """One measurement. ``rate`` 0 is a closed loop: each connection asks again once it is answered.

    Else an open loop at ``rate`` requests per second over at most ``connections``. What is due in the first ``warm``
    seconds is left out; then ``seconds`` count. ``part`` of ``parts`` generators.
    """

    connections: int
    rate: float
    seconds: float
    warm: float = 0.0
    arrivals: Arrivals = "poisson"
    seed: int = 0
    part: int = 0
    parts: int = 1
    samples: int = 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one load.

    ``latencies``: FP64 seconds of the right answers, and of those who waited in vain until the end (a lower bound of
    what they would have seen). Open loop: since each request was due; closed loop: since it was sent.
    ``lateness``: FP64 seconds by which requests were sent later than due although a connection was free: the
    generator's own fault.
    ``errors`` counts answers other than 200 by status and code, and connections that failed. ``unanswered`` requests
    got no answer in time, or could not even be sent. ``completed`` right answers came within the ``seconds`` that
    count, of which the generator used ``cpu_seconds`` of a core; ``lasted`` are the seconds from the start of the
    load, warm-up and all, to its last answer. ``samples``: (index of request, answer).
    """

    latencies: bytes
    lateness: bytes
    errors: dict[str, int]
    unanswered: int
    completed: int
    seconds: float
    cpu_seconds: float
    lasted: float
    samples: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Word:
    """What a generator says: that it is connected and ``ready``, its ``outcome``, or the ``error`` that hindered it."""

    ready: bool = False
    outcome: Outcome | None = None
    error: str = ""


def write_message(stream: IO[bytes], value: object) -> None:
    """One value with its length before it."""
    body = msgspec.msgpack.encode(value)
    stream.write(_LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()


def read_message(stream: IO[bytes], kind: type[V]) -> V:
    """The next value.

    Raises:
        EOFError: the other side is gone.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return msgspec.msgpack.decode(_exactly(stream, length), type=kind)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise EOFError
    return content
