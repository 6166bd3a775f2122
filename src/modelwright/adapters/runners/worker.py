"""One process of a native model, seen from the gateway: started, asked, and never believed."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from modelwright.adapters.runners.answers import AnswerCheck
from modelwright.adapters.runners.frames import (
    CANCEL,
    CREDIT,
    FAILED,
    FORGET,
    OPEN,
    READY,
    REFUSED,
    RESULT,
    RUN,
    SEQUENCE,
    STREAM,
    TAKEN,
    EndedError,
    Frame,
    FrameError,
    Frames,
)
from modelwright.adapters.runners.stream_book import Said, StreamBook
from modelwright.core.errors import BadInputError, InternalError, ModelwrightError, UnavailableError
from modelwright.core.package import canonical_json
from modelwright.jail import apart, environment
from modelwright.ports.runner import SequenceMark

MAX_ANSWER_BYTES = 256 * 2**20
OPEN_SECONDS = 120.0
_MODULE = "modelwright.adapters.runners.native_host"
_APART = "modelwright.adapters.runners.native_apart"
# Isolated from the environment, yet running the very code that its parent runs, wherever that was imported from.
_PROGRAM = (
    f"import sys; sys.path.count(sys.argv[1]) or sys.path.insert(0, sys.argv[1]); from {_MODULE} import main; main()"
)
_ROOT = str(Path(__file__).resolve().parents[3])

_spawning: dict[int, ThreadPoolExecutor] = {}


class LostError(Exception):
    """The process is of no more use; ``reason`` is ``crashed``, ``hung``, ``violated`` or ``burned``."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Opening:
    """What a process is told before it opens the model.

    ``files`` is the directory with the package's verified files; ``isolation`` the level of jail it must hold;
    ``memory_bytes`` bounds its address space; ``streams`` tells that it answers in chunks too; ``device`` is what the
    model is told to run on. ``site`` is the folder of its libraries; None: they are those of this process.
    """

    name: str
    files: Path
    isolation: str
    threads: int
    memory_bytes: int
    device: str = "cpu"
    streams: bool = False
    site: Path | None = None


class Worker:
    """One process. ``level`` is the isolation that it reported; ``born`` is in ``time.monotonic`` seconds.

    Args:
        process: the process.
        frames: our end of its socket.
        check: what it may answer.
        level: the isolation in force.
        streams: whether it may be asked for answers in chunks.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        frames: Frames,
        check: AnswerCheck,
        level: str,
        *,
        streams: bool = False,
    ) -> None:
        self.streams = streams
        self.process, self.level, self.born = process, level, time.monotonic()
        self._frames, self._check = frames, check
        self._run, self._rows = 0, -1
        self._book = StreamBook(check)
        self._secrets = memoryview(b"")

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._frames.fileno()

    def start(self, feeds: Mapping[str, NDArray[Any]], sequence: SequenceMark | None = None) -> None:
        """Begin a run, of a sequence or of none.

        Raises:
            BadInputError: ``serve.model-rejected-input``: the tensors cannot be sent.
            LostError: the process does not take it.
        """
        run, rows = self._number(), self._check.rows(feeds)
        if sequence is not None:
            self._tell(SEQUENCE, run, canonical_json(sequence._asdict()))
        self._send(RUN, run, feeds)
        self._run, self._rows = run, rows

    def stream(self, feeds: Mapping[str, NDArray[Any]]) -> int:
        """Begin an answer in chunks; its number. Raises as :meth:`start`."""
        run = self._number()
        self._send(STREAM, run, feeds)
        self._book.open(run)
        return run

    def welcome(self, run: int) -> None:
        """Let the process make one more chunk; raises LostError."""
        if self._book.welcome(run):
            self._tell(CREDIT, run)

    def cancel(self, run: int) -> None:
        """Tell the process that an answer is not wanted any more: its end follows, soon; raises LostError."""
        if self._book.cancel(run):
            self._tell(CANCEL, run)

    def forget(self, key: int) -> None:
        """Tell the process that a sequence is over; raises LostError."""
        self._tell(FORGET, key)

    def _number(self) -> int:
        if not self._secrets:  # no process can know, and answer, a request that it was not given yet
            self._secrets = memoryview(os.urandom(4096)).cast("Q")
        run, self._secrets = self._secrets[0], self._secrets[1:]
        return run

    def _tell(self, kind: int, run: int, text: bytes = b"") -> None:
        try:
            self._frames.send_text(kind, run, text)
        except (EndedError, OSError) as error:
            raise LostError("crashed") from error

    def _send(self, kind: int, run: int, feeds: Mapping[str, NDArray[Any]]) -> None:
        try:
            self._frames.send(kind, run, feeds)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise BadInputError(
                "serve.model-rejected-input", "The input cannot be given to the model.", why=f"{error}"
            ) from error
        except (EndedError, OSError) as error:
            raise LostError("crashed") from error

    def answer(self) -> dict[str, NDArray[Any]] | ModelwrightError | Said | None:
        """What the run under way brought, or an answer in chunks, checked; None when there is nothing yet.

        Raises:
            LostError: the process ended, or sent what it may not send.
        """
        try:
            frame = self._frames.receive()
        except BlockingIOError:
            return None
        except FrameError as error:
            raise LostError("violated", str(error)) from error
        except (EndedError, OSError) as error:
            raise LostError("crashed") from error
        if frame.run in self._book:
            return self._said(frame)
        if not self._run or frame.run != self._run:
            raise LostError("violated", "an answer that nobody asked for")
        self._run = 0
        if frame.kind in (REFUSED, FAILED) and not frame.tensors:
            return rejected(_words(frame)) if frame.kind == REFUSED else failed(_words(frame))
        if frame.kind != RESULT:
            raise LostError("violated", f"a frame of kind {frame.kind}")
        self._taken(frame)
        fault = self._check.fault(frame.tensors, self._rows)
        if fault:
            raise LostError("violated", fault)
        return frame.tensors

    def _said(self, frame: Frame) -> Said | None:
        self._taken(frame)
        try:
            said = self._book.read(frame)
        except FrameError as error:
            raise LostError("violated", str(error)) from error
        if said is None or frame.kind not in (REFUSED, FAILED):
            return said
        told = rejected(_words(frame)) if frame.kind == REFUSED else failed(_words(frame))
        return Said(frame.run, ended=True, error=told)

    def _taken(self, frame: Frame) -> None:
        """Say that the memory file was read, where others may wait for it."""
        if frame.filed and self.streams:
            self._tell(TAKEN, frame.run)

    def exchange(self, feeds: Mapping[str, NDArray[Any]], seconds: float) -> dict[str, NDArray[Any]] | ModelwrightError:
        """A run from beginning to end, waiting for it.

        Raises:
            BadInputError, LostError: as :meth:`start` and :meth:`answer`.
        """
        self.start(feeds)
        limit = time.monotonic() + seconds
        while (found := self.answer()) is None or isinstance(found, Said):
            if not _readable(self._frames, limit - time.monotonic()):
                raise LostError("hung")
        return found

    def kill(self) -> None:
        """End it; whoever waits for it to be gone calls :meth:`reap`."""
        self._frames.close()
        with contextlib.suppress(OSError):
            self.process.kill()

    def reap(self) -> None:
        """Wait until it is gone, a few seconds at most: one in the kernel's hands may take long to die."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)

    @property
    def memory_bytes(self) -> int:
        """Resident memory; 0 when it cannot be told."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        return 0

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all its threads up to now; 0 when it is gone."""
        with contextlib.suppress(OSError):
            # What clock_getcpuclockid(3) gives for a process; a tenth of the cost of reading /proc/PID/stat.
            return time.clock_gettime((~self.process.pid << 3) | 2)
        return 0.0


def open_worker(opening: Opening, scratch: Path, check: AnswerCheck) -> Worker:
    """Start a process and wait until it has opened the model.

    Raises:
        BadInputError: ``serve.model-unusable``: the model cannot be opened.
        UnavailableError: ``serve.runner-failed-to-start``: it ended, or took too long.
    """
    spawner = _spawner()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    frames = Frames(ours, max_bytes=MAX_ANSWER_BYTES)
    process = spawner.submit(_spawn, opening, scratch, theirs).result()
    worker = Worker(process, frames, check, "", streams=opening.streams)
    try:
        ours.setblocking(False)
        frames.send_text(OPEN, 1, _request(opening, scratch))
        worker.level = _opened(opening.name, process, frames)
    except BaseException:
        worker.kill()
        worker.reap()
        raise
    return worker


def rejected(why: str) -> BadInputError:
    """The model took the tensors and failed."""
    return BadInputError(
        "serve.model-rejected-input",
        "The model rejected its input.",
        why=why,
        fix="Compare the tensors with the model's metadata.",
    )


def failed(why: str) -> InternalError:
    """The model answered what its signature does not allow, or what cannot be sent."""
    return InternalError(
        "serve.runner-failed", "The model gave no answer that can be used.", why=why, fix="Repair the model."
    )


def _request(opening: Opening, scratch: Path) -> bytes:
    return canonical_json(
        {
            "files": str(opening.files),
            "scratch": str(scratch),
            "isolation": opening.isolation,
            "memory_bytes": opening.memory_bytes,
            "threads": opening.threads,
            "device": opening.device,
            "parent": os.getpid(),
            "site": str(opening.site or ""),
        }
    )


def _opened(name: str, process: subprocess.Popen[bytes], frames: Frames) -> str:
    """The isolation level that the process reports once the model is open."""
    why = f"It took longer than {OPEN_SECONDS:g} seconds."
    if _readable(frames, OPEN_SECONDS):
        try:
            frame = frames.receive()
            if frame.kind == READY and not frame.tensors:
                return _words(frame)
            if frame.kind == REFUSED and not frame.tensors:
                raise BadInputError(
                    "serve.model-unusable",
                    f"Model {name!r} cannot be opened.",
                    why=_words(frame),
                    fix="Pack the model again in this environment, or install what it needs.",
                )
            why = "It sent what it may not send."
        except FrameError as error:
            why = f"It sent {error}."
        except (EndedError, OSError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
            why = f"It ended with status {process.returncode}."
    raise UnavailableError(
        "serve.runner-failed-to-start",
        f"The process of model {name!r} did not start.",
        why=why,
        fix="See the server's log; check that there is memory for it.",
        details={"retry_after": 10},
    )


def _spawner() -> ThreadPoolExecutor:
    """The thread that starts processes, and lives as long as this process: they end with the thread they came from."""
    pid = os.getpid()
    if pid not in _spawning:
        pool = ThreadPoolExecutor(1, thread_name_prefix="spawn")
        try:
            pool.submit(os.getpid).result()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no more threads may be started") from error
        _spawning[pid] = pool
    return _spawning[pid]


def _command(opening: Opening, scratch: Path, descriptor: str) -> list[str]:
    if opening.site is None:
        return [sys.executable, "-I", "-B", "-c", _PROGRAM, _ROOT, descriptor]
    return apart.command(_APART, _ROOT, descriptor, _request(opening, scratch).decode())


def _spawn(opening: Opening, scratch: Path, theirs: socket.socket) -> subprocess.Popen[bytes]:
    with theirs:
        return subprocess.Popen(
            _command(opening, scratch, str(theirs.fileno())),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=scratch,
            env=environment(scratch),
            start_new_session=True,
            pass_fds=(theirs.fileno(),),
        )


def _readable(frames: Frames, seconds: float) -> bool:
    poll = select.poll()
    poll.register(frames.fileno(), select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def _words(frame: Frame) -> str:
    """Text of the other side, fit for a log: one line of at most 500 printable characters."""
    text = frame.text[:2000].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else " " for character in text)[:500]
