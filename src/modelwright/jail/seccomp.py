"""The filter of system calls: what it refuses, and how the kernel is told."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

from modelwright.jail import calls, kernel

_LOAD, _RETURN, _EQUAL, _AT_LEAST, _ANY_BIT, _AND = 0x20, 0x06, 0x15, 0x35, 0x45, 0x54
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_REFUSE, _ABSENT = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x00010000
_NUMBER, _ARCHITECTURE = 0, 4
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
# By call: the position of the argument and the values that are refused.
_COMMANDS = {
    # F_SETOWN, F_SETSIG, F_SETOWN_EX: whom a descriptor's signals go to; F_SETLEASE, F_NOTIFY: who waits for us.
    "fcntl": (1, (8, 10, 15, 1024, 1026)),
    # Typing into a terminal, taking one over, its line discipline, FIOSETOWN, SIOCSPGRP.
    "ioctl": (1, (0x5412, 0x541C, 0x540E, 0x5423, 0x541D, 0x8901, 0x8902)),
    # PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_MM, PR_SET_PTRACER.
    "prctl": (0, (1, 4, 35, 0x59616D61)),
}
# By call: the position of the argument that names a process; only 0, the caller, is allowed.
_OF_ITSELF = {
    "prlimit64": 0,
    "sched_setaffinity": 0,
    "sched_setscheduler": 0,
    "sched_setparam": 0,
    "sched_setattr": 0,
}

_LOCKING = (6, 7, 37, 38)  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW

Step = bytes


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the filter leaves alone because something else holds it, or because it was asked for.

    Args:
        truncation: by path; the file rules of newer kernels cover it.
        memory_files: ``memfd_create(2)``.
        locks: of files; whoever may read the files of others could make them wait.
    """

    truncation: bool = False
    memory_files: bool = False
    locks: bool = False


def install(allowed: Allowed) -> bool:
    """Install the filter on every thread; False where the kernel or the machine has none."""
    machine = platform.machine()
    if machine not in calls.ARCHITECTURES:
        return False
    program = filter_program(machine, os.getpid(), allowed)
    buffer = ctypes.create_string_buffer(program, len(program))
    described = _Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    number = calls.number("seccomp", machine)
    assert number is not None
    return kernel.syscall(number, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(described)) == 0


def filter_program(machine: str, process: int, allowed: Allowed) -> bytes:
    """Classic BPF: kill on a foreign ABI, refuse the denied calls, judge some by their arguments, allow the rest.

    Args:
        machine: a key of :data:`modelwright.jail.calls.ARCHITECTURES`.
        process: the process that may signal its own threads.
        allowed: what it leaves alone.
    """
    column, architecture = calls.ARCHITECTURES[machine]
    steps = [_load(_ARCHITECTURE), _jump(_EQUAL, architecture, 1, 0), _answer(_KILL), _load(_NUMBER)]
    if machine == "x86_64":
        steps += [_jump(_AT_LEAST, _X32_BIT, 0, 1), _answer(_KILL)]
    steps += [_jump(_AT_LEAST, calls.FIRST_UNKNOWN, 0, 1), _answer(_ABSENT)]
    denied = calls.DENIED if allowed.memory_files else calls.DENIED | calls.MEMORY_FILES
    for numbers in denied.values():
        if (number := numbers[column]) is not None:
            steps += [_jump(_EQUAL, number, 0, 1), _answer(_REFUSE)]
    for name, body in _judged(process, allowed).items():
        if (number := calls.number(name, machine)) is not None:
            steps += [_jump(_EQUAL, number, 0, len(body)), *body]
    return b"".join([*steps, _answer(_ALLOW)])


def _judged(process: int, allowed: Allowed) -> dict[str, list[Step]]:
    """By call, what decides about it; each ends with an answer."""
    bodies = {name: _refuse_values(position, values) for name, (position, values) in _COMMANDS.items()}
    bodies |= {name: _only(position, 0) for name, position in _OF_ITSELF.items()}
    # clone3 takes its flags in memory, where no filter can look: "not there" makes the C library use clone.
    bodies["clone3"] = [_answer(_ABSENT)]
    bodies["clone"] = [_argument(0), _jump(_ANY_BIT, _CLONE_THREAD, 1, 0), _answer(_REFUSE), _answer(_ALLOW)]
    bodies["tgkill"] = _only(0, process)
    # Space beyond the end of a file is not counted by the limit of its size.
    bodies["fallocate"] = _only(1, 0, _ERRNO | errno.EOPNOTSUPP)
    # A pair of connected streams stays within the process; datagrams could be sent elsewhere.
    stream = [_argument(1), _step(_AND, 0xF), _jump(_EQUAL, 1, 1, 0), _answer(_REFUSE), _answer(_ALLOW)]
    bodies["socketpair"] = [_argument(0), _jump(_EQUAL, 1, 1, 0), _answer(_REFUSE), *stream]
    if not allowed.locks:
        no_locks = _ERRNO | errno.ENOLCK
        bodies["flock"] = [_answer(no_locks)]
        bodies["fcntl"] = [*_refuse_values(1, _LOCKING, no_locks)[:-1], *bodies["fcntl"]]
    if not allowed.truncation:
        bodies["truncate"] = [_answer(_REFUSE)]
        bodies["openat2"] = [_answer(_ABSENT)]
        bodies["open"], bodies["openat"] = _refuse_truncation(1), _refuse_truncation(2)
    return bodies


def _refuse_truncation(flags: int) -> list[Step]:
    """Refuse opening for reading only with O_TRUNC: opening for writing is judged by the file rules."""
    truncates = [_argument(flags), _jump(_ANY_BIT, os.O_TRUNC, 1, 0), _answer(_ALLOW)]
    return [*truncates, _jump(_ANY_BIT, os.O_WRONLY | os.O_RDWR, 1, 0), _answer(_REFUSE), _answer(_ALLOW)]


def _refuse_values(position: int, values: tuple[int, ...], answer: int = _REFUSE) -> list[Step]:
    checks = [step for value in values for step in (_jump(_EQUAL, value, 0, 1), _answer(answer))]
    return [_argument(position), *checks, _answer(_ALLOW)]


def _only(position: int, value: int, otherwise: int = _REFUSE) -> list[Step]:
    return [_argument(position), _jump(_EQUAL, value, 1, 0), _answer(otherwise), _answer(_ALLOW)]


def _argument(position: int) -> Step:
    """The lower half of an argument: all that are judged here are 32 bits wide in the kernel."""
    return _load(16 + 8 * position)


def _load(offset: int) -> Step:
    return _step(_LOAD, offset)


def _answer(value: int) -> Step:
    return _step(_RETURN, value)


def _step(code: int, value: int) -> Step:
    return struct.pack("<HBBI", code, 0, 0, value)


def _jump(code: int, value: int, yes: int, no: int) -> Step:
    return struct.pack("<HBBI", code, yes, no, value)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))
