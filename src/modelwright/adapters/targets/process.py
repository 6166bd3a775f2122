"""Gateways as processes of this machine, told by files under ``run/``.

``routing.json`` is replaced atomically. Each gateway holds ``gateway-<id>.lock`` for as long as it lives (the kernel
lets go of it when the process dies, however it dies) and answers in ``gateway-<id>.json`` which epoch it serves.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelwright.core import routing_codec
from modelwright.core.errors import ConflictError, RefusedError
from modelwright.core.version import RoutingTable

ROUTING_FILE = "routing.json"
_POLL_SECONDS = 0.02


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` so that a reader, or a crash, sees the old bytes or the new, never a part; mode 0600."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class GatewayPresence:
    """A gateway's side: it is live while it holds the lock, and it says which epoch it serves.

    Raises:
        ConflictError: ``serve.gateway-running`` when another process holds the same id.
    """

    def __init__(self, run_dir: Path, gateway_id: str) -> None:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path, self._lock_path = run_dir / f"gateway-{gateway_id}.json", run_dir / f"gateway-{gateway_id}.lock"
        self._lock = _locked_file(self._lock_path)
        if self._lock < 0:
            raise ConflictError(
                "serve.gateway-running",
                f"A gateway with the id {gateway_id!r} already runs on this data directory.",
                fix="Stop it, or give this one another --id.",
            )
        self._path.unlink(missing_ok=True)  # what a dead predecessor said is not ours

    def report(self, body: Mapping[str, object]) -> None:
        """Replace what this gateway says: ``pid``, ``epoch``, ``http``, ``error`` ({epoch, what} or null), ``at``."""
        write_atomically(self._path, json.dumps(dict(body)).encode())

    def close(self) -> None:
        """Leave: the lock is let go."""
        self._path.unlink(missing_ok=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)


class ProcessTarget:
    """The gateways under one ``run/`` directory."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    def publish(self, table: RoutingTable) -> None:
        """Replace ``routing.json``."""
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self._run_dir / ROUTING_FILE, routing_codec.encode(table))

    def wait(self, epoch: int, *, timeout: float) -> bool:
        """True when every live gateway serves ``epoch`` or a newer one; also when no gateway runs.

        Raises:
            RefusedError: ``deploy.load-failed`` when a live gateway could not load that epoch.
        """
        deadline = time.monotonic() + timeout
        while True:
            gateways = list(self._reports())
            for name, body in gateways:
                _refuse_failed(name, body, epoch)
            if all(_epoch(body) >= epoch for _, body in gateways):
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)

    def live(self) -> Sequence[str]:
        """Ids of the gateways that hold their lock."""
        return [name for name, _ in self._reports()]

    def _reports(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Id and last report of every gateway that holds its lock (an empty report before it said anything)."""
        for lock in sorted(self._run_dir.glob("gateway-*.lock")):
            if _held(lock):
                yield lock.stem.removeprefix("gateway-"), _read(lock.with_suffix(".json"))


def sweep(run_dir: Path) -> None:
    """Remove the files of gateways that were killed."""
    for lock in run_dir.glob("gateway-*.lock"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            _remove(lock)


def _remove(lock: Path) -> None:
    """Remove a lock that nobody holds, under that lock: a gateway that starts meanwhile sees it and makes another."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock.stat().st_ino == os.fstat(descriptor).st_ino:
            lock.with_suffix(".json").unlink(missing_ok=True)
            lock.unlink()
    finally:
        os.close(descriptor)


def _locked_file(path: Path) -> int:
    """A descriptor of the file, created if need be, with its lock held; -1 when another process holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock_exclusively(descriptor):
            os.close(descriptor)
            return -1
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)  # removed between the two steps: nobody would find our lock


def _lock_exclusively(descriptor: int) -> bool:
    """Take the lock, with some tries: :meth:`ProcessTarget.live` holds it for microseconds as it looks."""
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_POLL_SECONDS)
        else:
            return True
    return False


def _held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _epoch(body: Mapping[str, Any]) -> int:
    epoch = body.get("epoch", -1)
    return epoch if isinstance(epoch, int) else -1


def _refuse_failed(name: str, body: Mapping[str, Any], epoch: int) -> None:
    error = body.get("error")
    if _epoch(body) >= epoch or not isinstance(error, dict) or error.get("epoch") != epoch:
        return
    raise RefusedError(
        "deploy.load-failed",
        f"Gateway {name} could not load routing epoch {epoch}; it keeps serving epoch {_epoch(body)}.",
        why=str(error.get("what", "")),
        fix="Roll the route back, or repair the package and deploy again.",
        details={"gateway": name, "epoch": epoch},
    )
