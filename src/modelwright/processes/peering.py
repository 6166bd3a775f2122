"""The unix sockets between the gateways of a server: held by the supervisor, one for each gateway.

A connection to a gateway that is being started again waits on its socket, as those of clients do.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelwright.interfaces.peers.server import PeerServer
    from modelwright.serve.turn import Turn

BACKLOG = 64


def listen_for_peers(run: Path, gateways: int) -> list[socket.socket]:
    """A listening socket below ``run`` for each gateway; none for a gateway that is alone.

    Raises:
        OSError: they cannot be made.
    """
    if gateways == 1:
        return []
    made = []
    with contextlib.ExitStack() as opened, _short(run) as folder:
        for number in range(gateways):
            name = name_of(number)
            (run / name).unlink(missing_ok=True)
            listener = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(f"{folder}/{name}")  # private: the umask is the supervisor's 0077, as is the folder
            listener.listen(BACKLOG)
            made.append(listener)
        opened.pop_all()
    return made


def paths_of(run: Path, gateways: int) -> list[str]:
    """Where the gateways' sockets are reached, for as long as this process lives."""
    folder = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return [f"/proc/self/fd/{folder}/{name_of(number)}" for number in range(gateways)]


def slot_of(gateway_id: str) -> int:
    """The number of a gateway by its id, ``g0.<server>.<number>``."""
    return int(gateway_id.partition(".")[0].removeprefix("g"))


def name_of(number: int) -> str:
    """The file name of a gateway's socket."""
    return f"peer-g{number}.sock"


async def start(
    turn: Turn, listener: int, run: Path, gateways: int, gateway_id: str, *, log_required: bool
) -> PeerServer:
    """Pass on from now on what lives in another gateway, and answer what they pass on."""
    # lazy: the supervisor, which makes the sockets, predicts nothing
    from modelwright.interfaces.peers.asking import Peers
    from modelwright.interfaces.peers.server import PeerServer

    server = PeerServer(turn, log_required=log_required)
    await server.start(socket.socket(fileno=listener))
    turn.elsewhere = Peers(turn, slot_of(gateway_id), paths_of(run, gateways))
    return server


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A short name of a folder: the path of a unix socket has 107 bytes at most."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
