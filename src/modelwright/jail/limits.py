"""Resource limits and descriptors."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable
from pathlib import Path

from modelwright.jail.confinement import Confinement

_STANDARD_STREAMS = (0, 1, 2)


def apply(confinement: Confinement) -> None:
    """Everything but the number of threads."""
    _limit(resource.RLIMIT_AS, confinement.memory_bytes)
    if confinement.cpu_seconds:
        _limit(resource.RLIMIT_CPU, confinement.cpu_seconds)
    _limit(resource.RLIMIT_FSIZE, confinement.file_bytes)
    _limit(resource.RLIMIT_NOFILE, confinement.open_files)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_MEMLOCK, 2**20)
    _limit(resource.RLIMIT_MSGQUEUE, 0)


def limit_threads(threads: int) -> None:
    """At most ``threads`` tasks of this user (in its user namespace)."""
    _limit(resource.RLIMIT_NPROC, threads)


def tasks_of_user() -> int:
    """Processes and threads of this user that can be seen."""
    mine, count = os.getuid(), 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == mine:
                count += len(list((process / "task").iterdir()))
    return count


def close_descriptors(keep: Iterable[int]) -> bool:
    """Close all but ``keep`` and the standard streams; False when they cannot be listed."""
    kept = {*keep, *_STANDARD_STREAMS}
    try:
        descriptors = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    except OSError:
        return False
    for descriptor in descriptors:
        if descriptor not in kept:
            with contextlib.suppress(OSError):  # the one that listed them is gone already
                os.close(descriptor)
    return True


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (bound, bound))
