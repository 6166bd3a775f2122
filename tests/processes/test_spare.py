"""The process that waits to become a gateway."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

from modelwright.processes.spare import GATEWAY, Spare


def story(told):
    with socket.socket() as listener:
        spare = Spare([listener.fileno()], grpc=False)

        async def run():
            keeping = asyncio.create_task(spare.keep(lambda: True))
            try:
                return await asyncio.wait_for(told(spare, listener.fileno()), 60)
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

        return asyncio.run(run())


async def waiting(spare):
    while spare._waiting is None:  # noqa: ASYNC110 - another task
        await asyncio.sleep(0.01)
    return spare._waiting


def test_there_is_none_before_one_was_started_and_none_after_it_was_taken():
    async def told(spare, listener):
        command = [*GATEWAY, "--help"]
        assert spare.take(command, [listener]) is None
        await waiting(spare)
        taken = spare.take(command, [listener])
        assert spare.take(command, [listener]) is None
        status = await taken.process.wait()
        with os.fdopen(taken.stdout) as said:
            return status, said.read()

    status, said = story(told)
    assert status == 0
    assert "usage: python -m modelwright.processes.gateway" in said  # it was what it was told to be


def test_one_that_died_is_not_taken():
    async def told(spare, listener):
        held = await waiting(spare)
        held.process.send_signal(signal.SIGKILL)
        await held.process.wait()
        return spare.take([*GATEWAY, "--help"], [listener])

    assert story(told) is None


def test_it_becomes_nothing_but_a_gateway():
    async def told(spare, listener):
        await waiting(spare)
        return spare.take(["another", "program", "--help"], [listener])

    assert story(told) is None


def test_whoever_stops_keeping_one_ends_it():
    async def told(spare, _listener):
        return (await waiting(spare)).process

    process, limit = story(told), time.monotonic() + 60
    while Path(f"/proc/{process.pid}").exists() and "Z (zombie)" not in Path(f"/proc/{process.pid}/status").read_text():
        assert time.monotonic() < limit
        time.sleep(0.01)
