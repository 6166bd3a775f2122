"""How the converter is held: from its request to the jail. Standard library only: its libraries may be a stranger's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modelwright.jail import Confinement, Held, enter


def hold(scratch: Path, request: Mapping[str, Any], results: Iterable[int], readable: tuple[Path, ...] = ()) -> Held:
    """Close the jail around this process, which may read the model's file, or the folder that is one."""
    path = Path(request["path"])
    return enter(
        Confinement(
            scratch,
            request["isolation"],
            memory_bytes=int(request["memory_bytes"]),
            cpu_seconds=int(request["cpu_seconds"]),
            file_bytes=int(request["file_bytes"]),
            readable=(path.parent if request["folder"] else path, *readable),
            keep=(int(request["model"]), *results),
            scratch_bytes=int(request["scratch_bytes"]),
        )
    )
