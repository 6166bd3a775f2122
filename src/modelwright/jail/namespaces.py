"""Views of its own: a network with nothing in it, and a scratch directory in memory with a size."""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

from modelwright.jail import kernel

_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_NETWORK = 0x00020000, 0x08000000, 0x10000000, 0x40000000
_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE
_NO_SUID_NO_DEVICES = 2 | 4
_BYTES_PER_FILE = 4096


@dataclass(frozen=True, slots=True)
class Views:
    """What came of it: a network of its own, a bounded scratch, tasks counted for this process alone."""

    network: bool = False
    scratch: bool = False
    counted: bool = False


def separate(scratch: Path, scratch_bytes: int, *, alone: bool) -> Views:
    """Leave the machine's network and, where ``scratch_bytes``, put a file system of that size on ``scratch``.

    Root may; others may in a user namespace, where the kernel lets them have one, with one thread only (``alone``).

    Raises:
        OSError: a user namespace was had, and then not filled.
    """
    wanted = _NEW_NETWORK | _NEW_IPC | (_NEW_MOUNTS if scratch_bytes else 0)
    if kernel.libc().unshare(wanted) == 0:
        return Views(network=True, scratch=_mount(scratch, scratch_bytes))
    if os.geteuid() == 0 or not alone or not _allowed(wanted):
        return Views()
    _become_alone(wanted)
    return Views(network=True, scratch=_mount(scratch, scratch_bytes), counted=True)


def _allowed(wanted: int) -> bool:
    """Whether it works, tried by a child: some kernels give it and then refuse to fill it, with no way back."""
    with contextlib.suppress(OSError):  # no child allowed, or none waited for: then nobody can tell
        child = os.fork()
        if child == 0:
            try:
                _become_alone(wanted)
                os._exit(0)
            finally:
                os._exit(1)
        return os.waitpid(child, 0)[1] == 0
    return False


def _become_alone(wanted: int) -> None:
    """A user namespace with nobody but this user in it, and the other views in there."""
    user, group = os.geteuid(), os.getegid()
    if kernel.libc().unshare(wanted | _NEW_USER) != 0:
        raise OSError(ctypes.get_errno(), kernel.reason())
    Path("/proc/self/setgroups").write_text("deny", "ascii")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1", "ascii")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1", "ascii")


def _mount(scratch: Path, scratch_bytes: int) -> bool:
    if not scratch_bytes:
        return False
    options = f"size={scratch_bytes},nr_inodes={max(scratch_bytes // _BYTES_PER_FILE, 64)},mode=0700".encode("ascii")
    if kernel.libc().mount(b"none", b"/", None, _PRIVATE, None) != 0:  # or what is mounted here would appear outside
        return False
    return bool(kernel.libc().mount(b"scratch", os.fsencode(scratch), b"tmpfs", _NO_SUID_NO_DEVICES, options) == 0)
