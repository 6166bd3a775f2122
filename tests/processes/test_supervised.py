"""When a child that ended is started again."""

import asyncio
import logging
import socket

from modelwright.processes.supervised import FIRST_BACKOFF, Child


def waits(caplog, count, **more):
    """Seconds that the supervisor says it waits, for a child that ends ``count`` times."""
    stopping, ended = asyncio.Event(), []

    def died(_name):
        ended.append(1)
        if len(ended) == count:
            stopping.set()

    async def story():
        with socket.socket() as listener:
            child = Child("c", lambda _successor: ["true"], listener, 5.0, died=died, **more)
            assert await asyncio.wait_for(child.keep_alive(stopping), 60) == 0

    with caplog.at_level(logging.WARNING, "modelwright.supervisor"):
        asyncio.run(story())
    return [record.again_in for record in caplog.records if record.message == "child.died"]


def test_a_child_that_ends_again_and_again_waits_longer_each_time(caplog):
    assert waits(caplog, 3) == [FIRST_BACKOFF, 2 * FIRST_BACKOFF, 4 * FIRST_BACKOFF]


def test_a_child_that_lived_long_enough_is_started_again_at_once(caplog):
    assert waits(caplog, 3, calm_seconds=0.0) == [0.0, 0.0, 0.0]
