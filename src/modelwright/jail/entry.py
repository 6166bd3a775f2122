"""The steps of going in, in an order in which each still can do what it has to."""

from __future__ import annotations

import os
from pathlib import Path

from modelwright.core.errors import UnavailableError
from modelwright.jail import confinement as parts
from modelwright.jail import identity, landlock, limits, namespaces, reading, seccomp
from modelwright.jail.confinement import Confinement, Held, judge
from modelwright.jail.parent import tie_to_parent
from modelwright.jail.seccomp import Allowed


def enter(confinement: Confinement) -> Held:
    """Hold this process, for good, before it opens anything that may run code; returns what is truly in force.

    Import what is trusted before, in one thread: the kernel's file rules hold for the thread that calls this and those
    it starts, and where there are others they are reported as missing. Afterwards the current directory is ``scratch``,
    every descriptor is closed but 0, 1, 2 and those to keep, and the process dies with the one that started it.

    Raises:
        UnavailableError: ``jail.not-entered``; the process may be half held and should end.
    """
    try:
        limits.apply(confinement)
        if confinement.level == "off":
            return judge("off", [parts.LIMITS])
        return _enter(confinement)
    except OSError as error:
        raise UnavailableError(
            "jail.not-entered",
            "The jail could not be closed around the process.",
            why=f"{error}.",
            fix="Check that the scratch directory exists and that /proc is there.",
        ) from error


def _enter(confinement: Confinement) -> Held:
    held, reasons, parent = [parts.LIMITS], [], os.getppid()
    if limits.close_descriptors(confinement.keep):
        held.append(parts.DESCRIPTORS)
    alone = len(list(Path("/proc/self/task").iterdir())) == 1
    if confinement.scratch.stat().st_mode & 0o077:
        confinement.scratch.chmod(0o700)
    os.umask(0o077)
    views = namespaces.separate(confinement.scratch, confinement.scratch_bytes, alone=alone)
    if views.network:
        held.append(parts.NETWORK)
    if views.scratch:
        held.append(parts.BOUNDED_SCRATCH)
    elif confinement.scratch_bytes:
        reasons.append(parts.BOUNDED_SCRATCH)
    os.chdir(confinement.scratch)
    rules = landlock.version()
    readable = _readable(confinement)
    ruleset = landlock.Ruleset(rules, confinement.scratch, readable) if rules else None
    held += _change_user(confinement, readable, ruled=rules > 0)
    held += _limit_threads(confinement.threads, alone=views.counted)
    if identity.refuse_new_privileges():
        held.append(parts.NO_NEW_PRIVILEGES)
    identity.hide()
    tie_to_parent(parent)  # the kernel forgot it if the user changed
    if ruleset is not None:
        ruleset.restrict()
        if alone:
            held += [parts.WRITES, *([parts.READS] if confinement.level == "strict" else [])]
        else:
            reasons.append("threads that ran before are not under the file rules")
    allowed = Allowed(
        truncation=rules >= landlock.TRUNCATION_SINCE,
        memory_files=confinement.memory_files,
        locks=parts.READS in held,
    )
    if seccomp.install(allowed):
        held.append(parts.FILTER)
    return judge(confinement.level, held, reasons)


def _readable(confinement: Confinement) -> list[Path]:
    if confinement.level == "strict":
        return [*reading.listed(), *confinement.readable]
    return list(reading.everything())


def _change_user(confinement: Confinement, readable: list[Path], *, ruled: bool) -> list[str]:
    """Root becomes a user of its own; where that one could not read, it keeps the right to, if rules bound it."""
    held = []
    if os.geteuid() == 0:
        closed = confinement.level == "standard" or reading.out_of_reach(readable)
        keep_reading = closed and ruled
        if keep_reading or not closed:
            changed = identity.become_nobody_else(confinement.scratch, keep_reading=keep_reading)
            keep_reading = keep_reading and changed
        if os.geteuid() != 0:
            held.append(parts.NOT_ROOT)
    else:
        keep_reading = False
        held.append(parts.NOT_ROOT)
    if identity.drop_capabilities(keep_reading=keep_reading):
        held.append(parts.NO_CAPABILITIES)
    return held


def _limit_threads(threads: int, *, alone: bool) -> list[str]:
    """The kernel counts tasks by user, and never those of root."""
    if os.geteuid() == 0:
        return []
    limits.limit_threads(threads if alone else threads + limits.tasks_of_user())
    return [parts.THREADS]
