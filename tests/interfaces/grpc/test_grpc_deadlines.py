"""Nothing is run for a caller who is known to be gone, and each kind of error has its status."""

import asyncio
import math
import socket
import threading
import time

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from modelwright.core import errors
from modelwright.core.access import Actor
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.version import Arm, Route, RoutingTable
from modelwright.interfaces.grpc.guard import Shared, in_time, status_of
from modelwright.interfaces.grpc.server import start
from modelwright.interfaces.http import tensors
from modelwright.serve.plane import Plane
from modelwright.serve.turn import Turn
from modelwright.testing.record import InMemorySink
from modelwright.testing.runner import FunctionRunners

RUN_SECONDS, DEADLINE_SECONDS, CALLS = 0.05, 0.4, 40


def slow_plane(packaged):
    """A plane whose model takes its time and one request at a time: calls queue up behind one another."""
    signature = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("y", "FP64", (-1, 1)),))
    package = packaged("times", signature, row_independent=False)

    def slow(inputs):
        time.sleep(RUN_SECONDS)
        return {"y": inputs["x"]}

    plane = Plane(InMemorySink(), FunctionRunners({package.digest: slow}))
    route = Route("times", (Arm("1", package.digest, 1.0, "champion"),), ())
    plane.apply(RoutingTable(1, {"times": route}), {package.digest: package}.__getitem__)
    return plane


def ask_many(ask):
    """All calls at once; what each was told."""
    told = []

    def one():
        row = triton.InferInput("x", [1, 1], "FP64")
        row.set_data_from_numpy(np.array([[1.0]]))
        try:
            ask(row)
            told.append("answered")
        except InferenceServerException as error:
            told.append(error.status())

    threads = [threading.Thread(target=one) for _ in range(CALLS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_a_call_whose_deadline_passed_while_it_waited_is_not_run(packaged):
    async def story():
        plane = slow_plane(packaged)
        turn = Turn(plane, InMemorySink(), asyncio.get_running_loop().call_soon)
        shared = Shared(
            turn,
            lambda *_, **__: Actor("tester", "admin"),
            lambda: True,
            lambda: False,
            False,
            tensors.decode_binary,
            tensors.encode_binary,
            float,
            30.0,
            lambda *_: None,
            print,
        )
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        running = await start(shared, address, max_message_bytes=2**20, max_streams=3)
        with triton.InferenceServerClient(address) as client:
            told = await asyncio.to_thread(
                ask_many, lambda row: client.infer("times", [row], client_timeout=DEADLINE_SECONDS)
            )
        await running.stop(0)
        return told, sum(plane.tally.rows.values())

    told, ran = asyncio.run(story())
    # UNAVAILABLE: refused at once, because the wait would be longer than the deadline
    assert set(told) <= {"answered", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.UNAVAILABLE"}
    # what began in time may end late
    assert ran <= 2 * DEADLINE_SECONDS / RUN_SECONDS < CALLS


class Call:
    """What gRPC knows of a call."""

    def __init__(self, remaining, cancelled):
        self.time_remaining, self.cancelled = (lambda: remaining), (lambda: cancelled)


def test_only_a_call_with_time_left_that_was_not_taken_back_is_run():
    in_time(Call(math.inf, False))
    in_time(Call(0.001, False))
    with pytest.raises(errors.DeadlineError):
        in_time(Call(0.0, False))
    with pytest.raises(asyncio.CancelledError):
        in_time(Call(1.0, True))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadInputError, "INVALID_ARGUMENT"),
        (errors.NotFoundError, "NOT_FOUND"),
        (errors.UnauthenticatedError, "UNAUTHENTICATED"),
        (errors.ForbiddenError, "PERMISSION_DENIED"),
        (errors.TooLargeError, "RESOURCE_EXHAUSTED"),
        (errors.ConflictError, "ABORTED"),
        (errors.RefusedError, "FAILED_PRECONDITION"),
        (errors.ThrottledError, "RESOURCE_EXHAUSTED"),
        (errors.UnavailableError, "UNAVAILABLE"),
        (errors.DeadlineError, "DEADLINE_EXCEEDED"),
        (errors.CorruptError, "DATA_LOSS"),
        (errors.InternalError, "INTERNAL"),
    ],
)
def test_each_kind_of_error_has_its_status(error, status):
    assert status_of(error("a.code", "What.")) is grpc.StatusCode[status]


def test_every_kind_of_error_is_in_that_list():
    (marker,) = test_each_kind_of_error_has_its_status.pytestmark
    assert {error for error, _ in marker.args[1]} == set(errors.ModelwrightError.__subclasses__())
