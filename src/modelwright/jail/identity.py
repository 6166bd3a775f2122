"""Who the process is: its user, its capabilities, and who may look at it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import struct
from pathlib import Path

from modelwright.jail import kernel

_SET_DUMPABLE, _SET_KEEP_CAPABILITIES = 4, 8
_SET_NO_NEW_PRIVILEGES, _GET_NO_NEW_PRIVILEGES = 38, 39
_SET_SECURE_BITS, _NO_FIXUP = 28, 1 << 2
_CAPABILITIES_VERSION = 0x20080522
_READ_SEARCH = 1 << 2
_TO_SET_SECURE_BITS = 1 << 8
_TO_CHANGE_USER = 1 << 0 | 1 << 6 | 1 << 7  # CHOWN, SETGID, SETUID
# Above what directory services and containers hand out, below what systemd keeps for itself; and its own range, for
# containers that have no higher one.
_USERS = (range(0x7A000000, 0x7B000000), range(61184, 65520))


def become_nobody_else(scratch: Path, *, keep_reading: bool) -> bool:
    """Change root for a user that no one else is, who owns ``scratch``; False where this root may not or has no other.

    Args:
        scratch: its directory, with plain files at most.
        keep_reading: keep the right to read whatever root could, which the file rules then bound.
    """
    user = _unused()
    if user is None or _effective() & _TO_CHANGE_USER != _TO_CHANGE_USER:
        return False
    os.setgroups([])
    for path in (scratch, *(path for path in scratch.iterdir() if path.is_file())):
        os.chown(path, user, user, follow_symlinks=False)
    kernel.prctl(_SET_KEEP_CAPABILITIES, int(keep_reading))
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    return True


def _unused() -> int | None:
    mapped = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text("ascii").splitlines()]
    for users in _USERS:
        if any(first <= users.start and users.stop <= first + count for first, _, count in mapped):
            return users.start + secrets.randbelow(len(users))
    return None


def drop_capabilities(*, keep_reading: bool) -> bool:
    """Give up every capability, but to read where ``keep_reading``; True when none else is left."""
    kept = _READ_SEARCH if keep_reading else 0
    if keep_reading:
        _tell_the_truth()
    _hold(kept)
    return not _effective() & ~kept and not _permitted() & ~kept


def _tell_the_truth() -> None:
    """Let access(2) say yes to what may be opened: it looks away from the capabilities of who is not root.

    Libraries in C ask it whether their files are there (TensorFlow, CatBoost).
    """
    if _permitted() & _TO_SET_SECURE_BITS:
        _hold(_READ_SEARCH | _TO_SET_SECURE_BITS)
        kernel.prctl(_SET_SECURE_BITS, _NO_FIXUP)


def _hold(capabilities: int) -> None:
    header = struct.pack("<Ii", _CAPABILITIES_VERSION, 0)
    kernel.libc().capset(header, struct.pack("<6I", capabilities, capabilities, 0, 0, 0, 0))


def _effective() -> int:
    low, _, _, high, _, _ = _capabilities()
    return low | high << 32


def _permitted() -> int:
    _, low, _, _, high, _ = _capabilities()
    return low | high << 32


def _capabilities() -> tuple[int, ...]:
    held = ctypes.create_string_buffer(24)
    if kernel.libc().capget(struct.pack("<Ii", _CAPABILITIES_VERSION, 0), held) != 0:
        raise OSError(ctypes.get_errno(), kernel.reason())
    return struct.unpack("<6I", held.raw)


def refuse_new_privileges() -> bool:
    """No program and no file gives more rights from now on."""
    kernel.prctl(_SET_NO_NEW_PRIVILEGES, 1)
    return kernel.prctl(_GET_NO_NEW_PRIVILEGES) == 1


def hide() -> None:
    """No terminal, no core dump, and no other process of the same user may trace this one or read its memory."""
    with contextlib.suppress(PermissionError):  # it leads a session of its own already
        os.setsid()
    kernel.prctl(_SET_DUMPABLE, 0)
