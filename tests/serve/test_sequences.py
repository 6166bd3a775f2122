"""Sequences: one process, one version, one request at a time, in a bounded table."""

import time

import numpy as np
import pytest

from modelwright.core.errors import ModelwrightError
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.ports.runner import SequenceMark
from modelwright.serve import Plane, PredictCall
from modelwright.testing.errors import error_code
from modelwright.testing.record import InMemorySink
from modelwright.testing.remote import RemoteRunner, SteppedRemote

SIGNATURE = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)),))


def twice(inputs):
    return {"y": inputs["x"] * 2}


class Asking:
    def __init__(self, packages, places=2, **options):
        self.remotes = {package.digest: SteppedRemote(twice, places=places) for package in packages}
        self.remote = self.remotes[packages[0].digest]
        self.packages, self.told = packages, {}
        self.plane = Plane(InMemorySink(), self, watch=object(), **options)
        self.route(*(("champion", 1.0), ("canary", 0.0))[: len(packages)])

    def route(self, *shares):
        arms = tuple(
            Arm(str(n + 1), p.digest, weight, role)
            for n, (p, (role, weight)) in enumerate(zip(self.packages, shares, strict=True))
        )
        epoch = self.plane.table.epoch + 1 if self.plane.table else 1
        table = RoutingTable(epoch, {"code": Route("code", arms)})
        self.plane.apply(table, {package.digest: package for package in self.packages}.__getitem__)

    def load(self, package, *, threads=1):
        return RemoteRunner(self.remotes[package.digest], twice)

    def ask(self, value, identity="s", actor="a", version="", **flags):
        mark = SequenceMark(identity, **flags) if identity else None
        call = PredictCall("code", {"x": np.array([[float(value)]])}, actor, 0.0, version=version, sequence=mark)
        self.plane.submit(call, lambda outcome: self.told.__setitem__(value, outcome))
        self.plane.run()

    def gist(self):
        return {
            value: outcome.code if isinstance(outcome, ModelwrightError) else outcome.version
            for value, outcome in self.told.items()
        }

    def values(self):
        return [feeds["x"].item() for feeds in self.remote.started.values()]


@pytest.fixture
def stateful(code_package):
    return lambda name="a", sequences=True: code_package(f"# {name}", "code", SIGNATURE, sequences=sequences)


def test_requests_of_one_sequence_run_one_after_the_other_although_another_process_is_free(stateful):
    asking = Asking([stateful()])
    for value in range(3):
        asking.ask(value, start=value == 0)
    asking.ask(10, "other", start=True)
    assert asking.values() == [0.0, 10.0]
    for _ in range(4):
        asking.remote.finish()
    assert list(asking.told) == [0, 10, 1, 2]
    assert len({mark.key for mark in asking.remote.marks.values()}) == 2


def test_others_have_their_turn_between_two_requests_of_a_sequence(stateful):
    asking = Asking([stateful()], places=1)
    for value in range(2):
        asking.ask(value, start=value == 0)
    asking.ask(10, None)
    asking.remote.finish()
    assert asking.values() == [10.0]
    asking.remote.finish()
    assert asking.values() == [1.0]


def test_two_callers_with_the_same_id_have_two_sequences(stateful):
    asking = Asking([stateful()])
    asking.ask(1, start=True)
    assert error_code(asking.ask, 2, actor="b") == "serve.unknown-sequence"
    asking.ask(2, actor="b", start=True)
    assert len({mark.key for mark in asking.remote.marks.values()}) == 2


def test_a_lost_process_ends_what_runs_and_what_waits_with_a_clear_error(stateful):
    asking = Asking([stateful()])
    asking.ask(0, start=True)
    asking.ask(1)
    asking.remote.lose()
    assert asking.gist() == {0: "serve.sequence-lost", 1: "serve.sequence-lost"}
    assert asking.remote.started == {}  # a state that is gone makes no second try right
    asking.ask(2, start=True)
    asking.remote.finish()
    assert asking.gist()[2] == "1"


def test_a_sequence_stays_with_its_version_while_the_canary_grows_and_until_the_version_is_gone(stateful):
    for sequences in (True, False):
        asking = Asking([stateful("old", sequences), stateful("new", sequences)])
        asking.ask(0, start=True)
        asking.remote.finish()
        asking.route(("champion", 0.0), ("canary", 1.0))
        asking.ask(1)
        asking.remote.finish()
        assert asking.gist() == {0: "1", 1: "1"}
        asking.packages = asking.packages[1:]
        asking.route(("champion", 1.0))
        if sequences:
            assert error_code(asking.ask, 2) == "serve.sequence-lost"
        else:
            asking.ask(2)


def test_the_table_is_bounded_and_forgets_what_is_idle(stateful):
    asking = Asking([stateful()], max_sequences=2, sequence_idle_seconds=5)
    for value in range(2):
        asking.ask(value, str(value), start=True)
        asking.remote.finish()
    assert error_code(asking.ask, 2, "2", start=True) == "serve.too-many-sequences"
    asking.plane.give_up_late(time.perf_counter() + 6)
    assert len(asking.remote.forgotten) == 2
    asking.ask(3, "3", start=True)
    assert error_code(asking.ask, 4, "0") == "serve.unknown-sequence"


def test_a_request_whose_time_runs_out_is_told_and_the_next_one_runs(stateful):
    asking = Asking([stateful()])
    asking.ask(0, start=True)
    call = PredictCall(
        "code", {"x": np.ones((1, 1))}, "a", 0.0, sequence=SequenceMark("s"), limit=time.perf_counter() + 1
    )
    asking.plane.submit(call, lambda outcome: asking.told.__setitem__(1, outcome))
    asking.ask(2)
    asking.plane.give_up_late(time.perf_counter() + 2)
    asking.remote.finish()
    asking.remote.finish()
    assert asking.gist() == {1: "serve.deadline", 0: "1", 2: "1"}


def test_a_run_of_a_sequence_that_hangs_is_killed(stateful):
    asking = Asking([stateful()], run_seconds=3)
    asking.ask(0, start=True)
    asking.plane.give_up_late(time.perf_counter() + 4)
    assert asking.remote.abandoned == [1]
    assert asking.gist() == {0: "serve.sequence-lost"}
