"""What a held process may read."""

from __future__ import annotations

import contextlib
import os
import site
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

# What /proc tells of this process and of the machine, never of other processes.
_PROC = ("self", "cpuinfo", "meminfo", "stat", "loadavg", "filesystems", "sys/vm", "sys/kernel/osrelease")
_DEVICES = ("/dev/zero", "/dev/random", "/dev/urandom")
_MACHINE = (
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
)
_C_LIBRARY = (
    *("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload"),
    *("/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo", "/usr/share/locale", "/etc/os-release"),
    *("/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/etc/crypto-policies", "/etc/mime.types"),
)
_OF_PYTHON = ("bin", "lib", "lib32", "lib64", "share", "include", "pyvenv.cfg")


def listed() -> list[Path]:
    """Where Python, what is on ``sys.path`` and the C library are, and what they ask about the machine."""
    prefixes = dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix))
    python = [Path(prefix, part) for prefix in prefixes for part in _OF_PYTHON]
    machine = [Path(place) for place in (*_C_LIBRARY, *_MACHINE, *_DEVICES)]
    proc = [Path("/proc", name) for name in _PROC]
    return [*python, Path(__file__).parents[1], *_imported_from(), *machine, *proc]


def everything() -> Iterator[Path]:
    """Every place below the root but devices, terminals first, and what /proc tells of other processes."""
    yield from (place for place in Path("/").iterdir() if place.name not in {"proc", "dev"})
    yield from map(Path, _DEVICES)
    yield from (Path("/proc", name) for name in (*_PROC, "sys"))


def _imported_from() -> list[Path]:
    """What is on ``sys.path``, but for a home directory or one that holds it: too much to give for an import."""
    home = Path(os.environ.get("HOME", "/")).resolve()
    homes = {home, *home.parents, *(Path(base).resolve() for base in ("/", "/root", "/home", site.getuserbase()))}
    places = (Path(entry).resolve() for entry in sys.path if entry)
    return [place for place in places if place not in homes]


def out_of_reach(paths: list[Path]) -> bool:
    """True when a user without any rights of its own could not read one of ``paths`` that exist."""
    return any(_closed(path) for path in paths)


def _closed(path: Path) -> bool:
    with contextlib.suppress(OSError):
        real = path.resolve(strict=True)
        ways = all(parent.stat().st_mode & stat.S_IXOTH for parent in real.parents)
        return not ways or not real.stat().st_mode & stat.S_IROTH
    return False
