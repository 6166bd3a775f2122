"""What holds between the process and the one that started it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from modelwright.jail import kernel

_SET_PARENT_DEATH_SIGNAL = 1


def tie_to_parent(parent: int) -> None:
    """Die with the parent process, and leave at once where it is gone already.

    To the kernel the parent is the *thread* that started this process: start it from one that stays.

    Args:
        parent: the process id of whoever started this one, as it said itself.
    """
    kernel.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def environment(scratch: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment to start a held process with: nothing of ours, and one thread for each pool of its libraries.

    A library that starts threads when it is imported would leave them outside of the kernel's file rules, which hold
    for the thread that enters and those it starts.

    Args:
        scratch: its home and its place for temporary files.
        more: variables to add.
    """
    clean = {
        "PATH": os.defpath,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "XDG_CACHE_HOME": str(scratch),
        "USER": "model",
        "LANG": "C.UTF-8",
        "JOBLIB_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",  # read once, when the library is imported
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pandas imports pyarrow where it is installed
    }
    return clean | dict(more or {})
