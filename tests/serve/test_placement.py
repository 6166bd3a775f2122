"""A version runs where its golden answers come out, and says so."""

import numpy as np
import pytest

from modelwright.core.device import Placement
from modelwright.core.errors import RefusedError
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.serve import Plane
from modelwright.serve.describe import configuration
from modelwright.serve.load import prove
from modelwright.serve.repository import Repository
from modelwright.testing.record import InMemorySink
from modelwright.testing.runner import FunctionRunners

TWICE = Signature((TensorSpec("x", "FP64", (-1, -1)),), (TensorSpec("y", "FP64", (-1, -1)),))


@pytest.fixture(scope="module")
def doubling(packaged):
    return packaged("twice", TWICE, {"x": [[1.0, 2.0], [3.0, 4.0]]}, {"y": [[2.0, 4.0], [6.0, 8.0]]})


class Accelerated(FunctionRunners):
    """A device that answers a little off, with a CPU beside it that does not."""

    def __init__(self, package, off, *, replaceable):
        super().__init__({package.digest: lambda feeds: {"y": feeds["x"] * 2}})
        self._off, self._replaceable = off, replaceable

    def load(self, package, *, threads=1, instead=""):
        runner = super().load(package, threads=threads, instead=instead)
        if not instead:
            right = runner._function
            runner._function = lambda feeds: {"y": right(feeds)["y"] + self._off}
            runner.placement = Placement("cuda", (0, 1), 2, replaceable=self._replaceable)
        return runner


def test_a_device_that_gives_other_golden_answers_is_left_for_the_cpu_if_that_is_allowed(doubling):
    loader = Accelerated(doubling, 1e-3, replaceable=True)
    runner = prove(doubling, loader, threads=1).runner
    assert runner.placement.names == ("cpu",)
    assert "cuda:0, cuda:1" in runner.placement.reason
    assert "golden" in runner.placement.reason
    assert runner.run({"x": np.ones((1, 1))})["y"].tolist() == [[2.0]]
    with pytest.raises(RefusedError) as refused:
        prove(doubling, Accelerated(doubling, 1e-3, replaceable=False), threads=1)
    assert refused.value.code == "serve.golden-mismatch"


def test_a_device_that_gives_the_golden_answers_stays(doubling):
    proved = prove(doubling, Accelerated(doubling, 1e-9, replaceable=True), threads=1)
    assert proved.runner.placement.names == ("cuda:0", "cuda:1")


def served(package, loader):
    plane = Plane(InMemorySink(), loader)
    route = Route(package.name, (Arm("1", package.digest, 1.0, "champion"),))
    plane.apply(RoutingTable(1, {package.name: route}), {package.digest: package}.__getitem__)
    return plane


def test_the_configuration_and_the_index_say_where_a_version_runs(doubling):
    there = served(doubling, Accelerated(doubling, 0.0, replaceable=True))
    route = there.route("twice")
    group = {"name": "twice_cuda", "kind": "KIND_GPU", "count": 1, "gpus": [0, 1]}
    assert configuration(route, route.champion)["instance_group"] == [group]
    assert [entry.reason for entry in Repository(there).index("", stopping=False)] == [""]

    here = served(doubling, Accelerated(doubling, 1.0, replaceable=True))
    route = here.route("twice")
    assert configuration(route, route.champion)["instance_group"] == [
        {"name": "twice_cpu", "kind": "KIND_CPU", "count": 1}
    ]
    (entry,) = Repository(here).index("", stopping=False)
    assert entry.state == "READY"
    assert entry.reason.startswith("it runs on the CPU: cuda:0")
