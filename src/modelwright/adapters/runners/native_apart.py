"""The process of a native model that has libraries of its own: held first, then as any other.

Standard library only, until the jail is closed: the libraries are whatever the package's lock says.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from modelwright.adapters.runners.native_held import hold
from modelwright.jail import tie_to_parent
from modelwright.jail.apart import see


def main() -> None:
    """Serve the socket whose descriptor is the second argument; the third says how to be held, as JSON."""
    request, channel = json.loads(sys.argv[3]), int(sys.argv[2])
    tie_to_parent(request["parent"])
    file = os.memfd_create("tensors", os.MFD_CLOEXEC)
    site = Path(request["site"])
    held = hold(request, (channel, file), site)
    see(site)
    from modelwright.adapters.runners.native_host import serve  # lazy: NumPy is the stranger's

    serve(channel, file, held)
