"""What a process gives up before it opens a file that can run code. Applied by the process to itself, for good.

Linux only; the seccomp filter is for x86-64. What could not be applied is missing from the list that comes back:
an isolation level is reported, never assumed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
import stat
import struct
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 1, 4, 38, 39
_CLONE_NEWNET = 0x40000000
_CLONE_THREAD = 0x00010000
_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT, _SECCOMP = 444, 445, 446, 317
_SOCKET, _SOCKETPAIR, _CLONE, _CLONE3 = 41, 53, 56, 435
_PRLIMIT, _FCNTL, _IOCTL = 302, 72, 16
_DENIED_COMMANDS = (
    *((_FCNTL, command) for command in (8, 15)),  # F_SETOWN, F_SETOWN_EX: whom a descriptor's signals go to
    *((_IOCTL, command) for command in (0x5412, 0x541C, 0x8901)),  # TIOCSTI, TIOCLINUX, FIOSETOWN
)
# x86-64 numbers: sockets; fork, vfork; exec; tracing and other processes' memory; mounts and namespaces; kernel
# interfaces that would get around the filter (io_uring has its own socket calls); keys, modules, handles; signals;
# modes, owners, times and attributes of files, which Landlock leaves alone; memory and queues that outlive us.
_DENIED = (
    *(_SOCKET, _SOCKETPAIR),
    *(57, 58, 59, 322),
    *(101, 310, 311, 312, 438),
    *(155, 161, 165, 166, 272, 308, 428, 429, 430, 431, 432, 442),
    *(425, 426, 427, 298, 321, 323),
    *(175, 176, 246, 248, 249, 250, 303, 304, 313, 320),
    *(62, 129, 200, 234, 297, 424),
    *(90, 91, 92, 93, 94, 132, 188, 189, 190, 197, 198, 199, 235, 260, 261, 268, 280, 452, 463, 466),
    *(29, 64, 68, 240),
)
_READ_FILE = 1 << 2
_READS = _READ_FILE | (1 << 3)
# Where reading stays allowed beside every place that is not /proc: what it tells about this process and the machine.
_PROC = ("self", "cpuinfo", "meminfo", "stat", "loadavg", "filesystems", "sys")
# Landlock rights that write, remove or make; 13 = refer (ABI 2), 14 = truncate (ABI 3).
_WRITE_FILE = 1 << 1
_WRITES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
# What stays allowed in scratch: writing, removing, plain files and directories; no links, pipes, sockets or devices.
_PLAIN = _WRITE_FILE | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8) | (1 << 14)


def tie_to_parent(parent: int) -> None:
    """Die with the parent process, and leave at once where it is gone already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def enter(scratch: Path, *, memory_bytes: int, cpu_seconds: int, file_bytes: int) -> tuple[str, ...]:
    """Limit this process; returns what is in force, in words.

    Args:
        scratch: the only directory that stays writable.
        memory_bytes: address space.
        cpu_seconds: processor time.
        file_bytes: largest file it may write.
    """
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_NOFILE, 512)
    _limit(resource.RLIMIT_CORE, 0)
    held = ["own process", "rlimits"]
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if _libc().prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1:
        held.append("no_new_privs")
    if _libc().unshare(_CLONE_NEWNET) == 0:
        held.append("network namespace")
    abi = _landlock(scratch)
    if abi:
        held.append(f"landlock {abi} (writes in scratch only)")
    if _seccomp():
        held.append("seccomp (no sockets, no programs, no child processes)")
    return tuple(held)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    _libc().prctl(option, value, 0, 0, 0)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (bound, bound))


def _landlock(scratch: Path) -> int:
    """Deny writing everywhere but in ``scratch`` and to /dev/null, and reading what /proc tells of other processes.

    Returns the ABI version in force, 0 where there is none.
    """
    libc = _libc()
    abi = int(libc.syscall(_LANDLOCK_CREATE, None, 0, 1))
    if abi < 1:
        return 0
    rights = _READS | _WRITES | ((1 << 13) if abi >= 2 else 0) | ((1 << 14) if abi >= 3 else 0)
    # No TCP rules (the network is off), and no signals or abstract sockets to processes outside (ABI 6).
    attributes = struct.pack("<QQQ", rights, 0, 3) if abi >= 6 else struct.pack("<Q", rights)
    ruleset = libc.syscall(_LANDLOCK_CREATE, ctypes.c_char_p(attributes), len(attributes), 0)
    if ruleset < 0:
        return 0
    try:
        for path, allowed in (*_readable(), (scratch, rights & (_PLAIN | _READS)), (Path("/dev/null"), _WRITE_FILE)):
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = struct.pack("<Qi", allowed, beneath)
                if libc.syscall(_LANDLOCK_ADD, ruleset, 1, ctypes.c_char_p(rule), 0) != 0:
                    return 0
            finally:
                os.close(beneath)
        return abi if libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _readable() -> list[tuple[Path, int]]:
    """Every place below the root but /proc, and of /proc what :data:`_PROC` names, with the rights to read it."""
    found = []
    for path in (*Path("/").iterdir(), *(Path("/proc", name) for name in _PROC)):
        with contextlib.suppress(OSError):  # gone, or a mount that does not answer
            if path.name != "proc":
                found.append((path, _READS if stat.S_ISDIR(path.stat().st_mode) else _READ_FILE))
    return found


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _seccomp() -> bool:
    """Install the filter on every thread; False where the machine or the kernel has none."""
    if platform.machine() != "x86_64":
        return False
    program = _filter()
    buffer = ctypes.create_string_buffer(program, len(program))
    described = _Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    set_mode_filter, all_threads = 1, 1
    return bool(_libc().syscall(_SECCOMP, set_mode_filter, all_threads, ctypes.byref(described)) == 0)


def _filter() -> bytes:
    """Classic BPF: kill on a foreign ABI, refuse the denied calls, allow threads but no processes, allow the rest."""

    def load(offset: int) -> bytes:
        return struct.pack("<HBBI", 0x20, 0, 0, offset)

    def answer(value: int) -> bytes:
        return struct.pack("<HBBI", 0x06, 0, 0, value)

    def jump(code: int, value: int, yes: int, no: int) -> bytes:
        return struct.pack("<HBBI", code, yes, no, value)

    equal, at_least, any_bit = 0x15, 0x35, 0x45
    steps = [load(4), jump(equal, _AUDIT_ARCH_X86_64, 1, 0), answer(_KILL), load(0)]
    steps += [jump(at_least, _X32_BIT, 0, 1), answer(_KILL)]
    for number in _DENIED:
        steps += [jump(equal, number, 0, 1), answer(_ERRNO | errno.EPERM)]
    # clone3 takes its flags in memory, where no filter can look: "not there" makes the C library use clone.
    steps += [jump(equal, _CLONE3, 0, 1), answer(_ERRNO | errno.ENOSYS)]
    for number, command in _DENIED_COMMANDS:
        steps += [
            jump(equal, number, 0, 4),
            load(24),
            jump(equal, command, 0, 1),
            answer(_ERRNO | errno.EPERM),
            load(0),
        ]
    # Limits of itself (process 0) only.
    steps += [jump(equal, _PRLIMIT, 0, 4), load(16), jump(equal, 0, 1, 0), answer(_ERRNO | errno.EPERM), load(0)]
    steps += [jump(equal, _CLONE, 0, 3), load(16), jump(any_bit, _CLONE_THREAD, 1, 0), answer(_ERRNO | errno.EPERM)]
    return b"".join([*steps, answer(_ALLOW)])
