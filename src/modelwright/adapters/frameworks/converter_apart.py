"""The converter with libraries of a lock: held first, and then as any other. Standard library only until then."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from modelwright.adapters.frameworks.confined import hold
from modelwright.jail import tie_to_parent
from modelwright.jail.apart import see


def main() -> int:
    """As the converter's ``main``; the argument is the scratch directory."""
    scratch = Path(sys.argv[1])
    request = json.loads((scratch / "request.json").read_bytes())
    tie_to_parent(int(request["parent"]))
    given = {path.name: path.read_bytes() for path in scratch.iterdir() if path.is_file()}
    site = Path(request["site"])
    held = hold(scratch, request, request["results"].values(), (site,))
    for name, content in given.items():  # scratch may be another, empty one now
        (scratch / name).write_bytes(content)
    see(site)
    from modelwright.adapters.frameworks.converter import convert  # lazy: NumPy is the stranger's

    return convert(scratch, held)
