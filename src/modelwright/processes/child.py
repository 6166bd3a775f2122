"""What holds between the supervisor and its children: they never outlive it, and a gateway may be told to retire."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
RETIRE = signal.SIGUSR1  # to a gateway whose successor is ready
RETIRE_SECONDS = 5.0  # idle connections have this long to hear that theirs will be closed


def die_with_parent(parent: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel (Linux) for a signal when the parent goes; exit at once if it is gone already.

    Without it a killed supervisor would leave a server behind that still holds the socket.

    Args:
        parent: process id of the supervisor.
        number: the signal to get.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)
