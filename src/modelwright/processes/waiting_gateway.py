"""A gateway ahead of its time: it has imported what one needs, and waits to be told which one to be.

``python -m modelwright.processes.waiting_gateway --parent PID --listeners 3,4``: one line on standard input, JSON with
the gateway's ``arguments`` and the descriptors to ``keep``, makes it that gateway; the end of its input ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence

from modelwright.processes.child import die_with_parent


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the gateway that it became; 0 when it became none."""
    parser = argparse.ArgumentParser(prog="python -m modelwright.processes.waiting_gateway", description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="process to die with")
    parser.add_argument("--listeners", required=True, help="descriptors of bound sockets; all but its own are closed")
    parser.add_argument("--grpc", action="store_true", help="it will serve gRPC too")
    given = parser.parse_args(argv)
    die_with_parent(given.parent)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches it too, and there is nothing to finish
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from modelwright.processes import gateway  # lazy: only now, so that whoever is stopped meanwhile ends quietly

    if given.grpc:
        from modelwright.interfaces.grpc import server  # noqa: F401 - loaded for the gateway
    line = sys.stdin.readline()
    if not line:
        return 0
    told = json.loads(line)
    for listener in map(int, given.listeners.split(",")):
        if listener not in told["keep"]:
            os.close(listener)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return gateway.main(told["arguments"])


if __name__ == "__main__":
    sys.exit(main())
