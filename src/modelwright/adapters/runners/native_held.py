"""How the process of a native model is held. Standard library only: its libraries may be a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelwright.jail import Confinement, Held, enter

FILE_BYTES, SCRATCH_BYTES = 2**30, 2**28


def hold(request: Mapping[str, Any], keep: tuple[int, ...], *readable: Path) -> Held:
    """Close the jail around this process, which may read the package's files and ``readable``."""
    return enter(
        Confinement(
            scratch=Path(request["scratch"]),
            level=request["isolation"],
            memory_bytes=request["memory_bytes"],
            cpu_seconds=0,
            file_bytes=FILE_BYTES,
            readable=(Path(request["files"]), *readable),
            keep=keep,
            scratch_bytes=SCRATCH_BYTES,
        )
    )
