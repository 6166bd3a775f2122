"""Open files: a connection takes one, and the prediction log must never find that none is left."""

from __future__ import annotations

import resource

SPARE = 128  # log segments, blobs being loaded, the event loop's own
LEAST_SPARE = 40  # what a gateway of a few models has open itself, and some


def room_for(connections: int) -> int:
    """Raise this process's limit of open files as far as it may; how many of the connections fit into it.

    Each is counted twice: who is turned away lingers for a moment.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + SPARE
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    spare = min(SPARE, max(LEAST_SPARE, soft // 2))
    return max(1, (soft - spare) // 2)
