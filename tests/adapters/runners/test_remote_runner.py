import asyncio
import time
from contextlib import closing

import pytest

from modelwright.adapters.runners.process_loader import ProcessRunners
from modelwright.core.package import Golden
from modelwright.processes.loop_watch import LoopWatch
from modelwright.testing.remote import SteppedRemote
from modelwright.testing.remote_conformance import RemoteConformance, Witness

SUM = """
    def predict(inputs):
        return {"total": inputs["X"].sum(axis=1, keepdims=True)}
"""


@pytest.fixture
def package(code_package):
    return code_package(SUM, golden=Golden({"X": [[0, 1, 2], [3, 4, 5]]}, {"total": [[3], [12]]}, 2))


@pytest.fixture
def witness():
    return Witness()


class TestProcessRunner(RemoteConformance):
    @pytest.fixture
    def loop(self):
        with asyncio.Runner() as runner:
            yield runner

    @pytest.fixture
    def remote(self, package, witness, loop):
        watch = LoopWatch(lambda: None)

        async def attach(runner):
            watch.start()
            runner.attach(watch, witness)

        with closing(ProcessRunners().load(package)) as runner:
            loop.run(attach(runner))
            yield runner

    @pytest.fixture
    def pump(self, loop):
        async def turn():
            await asyncio.sleep(0.002)

        def until(done):
            limit = time.monotonic() + 30
            while not done():
                assert time.monotonic() < limit
                loop.run(turn())

        return until


class TestSteppedRemote(RemoteConformance):
    @pytest.fixture
    def remote(self, witness):
        remote = SteppedRemote(lambda feeds: {"total": feeds["X"].sum(axis=1, keepdims=True)})
        remote.attach(None, witness)
        return remote

    @pytest.fixture
    def pump(self, remote):
        def until(done):
            while not done():
                remote.finish()

        return until
