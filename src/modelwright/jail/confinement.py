"""What is asked of the jail, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelwright.core.errors import RefusedError
from modelwright.core.native import Isolation

Level = Literal["strict", "standard", "partial", "none"]

LIMITS = "resource limits"
DESCRIPTORS = "other descriptors closed"
NO_NEW_PRIVILEGES = "no_new_privs"
NO_CAPABILITIES = "no capability that changes anything"
WRITES = "writes in scratch only (Landlock)"
READS = "reads what is listed only (Landlock)"
FILTER = "no sockets, programs or processes (seccomp)"
NOT_ROOT = "not root"
THREADS = "thread limit"
NETWORK = "network namespace"
BOUNDED_SCRATCH = "bounded scratch"

STANDARD = (LIMITS, DESCRIPTORS, NO_NEW_PRIVILEGES, NO_CAPABILITIES, WRITES, FILTER)
STRICT = (*STANDARD, READS, NOT_ROOT, THREADS)
_ORDER = ("none", "partial", "standard", "strict")


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a process gives up.

    Args:
        scratch: the only directory that stays writable; its own, 0700, and made by whoever starts the process.
        level: ``standard`` writes in ``scratch`` only, has no network, starts no program and no process and sees no
            other process; ``strict`` also reads only what is listed; ``off`` has resource limits and no core dumps.
        memory_bytes: address space.
        cpu_seconds: processor time of all threads together; 0 = no limit.
        file_bytes: largest file it may write.
        open_files: descriptors.
        threads: threads it may have, where the kernel counts them for this process alone (see :class:`Held`).
        readable: files and directories that ``strict`` may read beside the Python installation, what is on
            ``sys.path``, and what the C library needs.
        keep: descriptors that stay open beside 0, 1 and 2: files, pipes and stream sockets, never datagram sockets,
            which could be sent elsewhere, nor directories outside of what may be read.
        scratch_bytes: 0 leaves ``scratch`` a directory of its disk, where only ``file_bytes`` limits a file. Otherwise
            it becomes a file system in memory of this size, empty, seen by this process only and gone with it.
        memory_files: allow ``memfd_create(2)``, for whoever answers with large tensors. ``memory_bytes`` does not count
            such files: together they may hold ``open_files`` times ``file_bytes``.
    """

    scratch: Path
    level: Isolation
    memory_bytes: int
    cpu_seconds: int
    file_bytes: int
    open_files: int = 512
    threads: int = 256
    readable: tuple[Path, ...] = ()
    keep: tuple[int, ...] = ()
    scratch_bytes: int = 0
    memory_files: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """What is in force.

    Args:
        level: the highest level whose parts are all in force; ``partial`` when some of ``standard`` are, ``none`` when
            neither the kernel's file rules nor its filter of calls are.
        parts: what is in force, in words.
        missing: what the level that was asked for needs and this machine did not give, in words.
    """

    level: Level
    parts: tuple[str, ...]
    missing: tuple[str, ...]


def judge(asked: Isolation, parts: Sequence[str], reasons: Sequence[str] = ()) -> Held:
    """The level that ``parts`` amount to; ``reasons`` says more of what is missing than its name does."""
    if asked == "off":
        return Held("none", tuple(parts), ())
    wanted = STRICT if asked == "strict" else STANDARD
    missing = tuple(part for part in wanted if part not in parts)
    return Held(_level(parts), tuple(parts), (*missing, *reasons))


def _level(parts: Sequence[str]) -> Level:
    if set(STRICT) <= set(parts):
        return "strict"
    if set(STANDARD) <= set(parts):
        return "standard"
    return "partial" if WRITES in parts or FILTER in parts else "none"


def require(held: Held, level: Isolation) -> None:
    """Raise unless ``held`` is at least ``level``.

    Raises:
        RefusedError: ``jail.level-unavailable``.
    """
    if level == "off" or _ORDER.index(held.level) >= _ORDER.index(level):
        return
    missing = ", ".join(held.missing) or "a part that was not asked for"
    raise RefusedError(
        "jail.level-unavailable",
        f"The isolation level {level} cannot be held on this machine: {held.level} is in force.",
        why=f"Missing: {missing}.",
        fix="Run it on Linux 5.13 or newer with Landlock and seccomp, outside a container that takes them away; or let "
        "an administrator allow a lower level for this model.",
        details={"level": held.level, "parts": list(held.parts), "missing": list(held.missing)},
    )
