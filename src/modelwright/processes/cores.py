"""How many cores this process may use: what the system lets it run on, and the share of it that its cgroup grants."""

from __future__ import annotations

import math
import os
from pathlib import Path


def cores(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """At least 1. A quota of 1.5 cores counts as 2: the threads of a program that waits in between use it up.

    Args:
        root: where the control groups are mounted.
        own: which of them this process is in.
    """
    allowed = len(os.sched_getaffinity(0))
    quotas = [quota for group in _groups(root, own) if (quota := _quota(group)) is not None]
    return max(1, min([allowed, *map(math.ceil, quotas)]))


def share(workers: int) -> int:
    """The cores of one of so many gateways beside each other, at least 1."""
    return max(1, cores() // workers)


def _groups(root: Path, own: Path) -> list[Path]:
    """The groups of this process and those above them: each of them may set a quota."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    groups = [root, root / "cpu"]  # a container sees its own group as the root
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        parts = [part for part in path.split("/") if part not in {"", ".."}]
        groups += [base.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return groups


def _quota(group: Path) -> float | None:
    """Cores that a group grants: ``cpu.max`` of version 2, ``cpu.cfs_*`` of version 1; None where it sets no limit."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except OSError:
            return None
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None
