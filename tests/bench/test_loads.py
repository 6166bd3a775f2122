"""What a generator reports is what the server's callers would have seen."""

import asyncio
import socket

import numpy as np
import pytest
import uvloop

from modelwright.bench.generators import Generators
from modelwright.bench.job import Job, Load
from modelwright.bench.run import measure
from modelwright.core.errors import UnavailableError

ASK = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


def run(server, load, **more):
    async def ready():
        pass

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(Job("127.0.0.1", server.port, [ASK], **more), load, ready))


def milliseconds(outcome):
    return np.frombuffer(outcome.latencies) * 1000


def test_a_stall_is_seen_by_everybody_who_was_due_in_it_and_not_only_by_those_under_way(moody):
    rate, stall = 400, 0.5
    server = moody(lambda number: (200, stall if number == 100 else 0.0))
    outcome = run(server, Load(4, rate, 1.5, arrivals="even"))
    found = milliseconds(outcome)
    assert len(found) == rate * 1.5
    held_up = (found > 100).sum()
    assert held_up >= 0.8 * rate * (stall - 0.1)  # four under way alone would be four
    assert found.max() >= 1000 * stall * 0.9


def test_a_closed_loop_waits_with_the_server_and_shows_a_stall_to_its_callers_alone(moody):
    server = moody(lambda number: (200, 0.3 if number == 50 else 0.0))
    outcome = run(server, Load(2, 0.0, 0.6))
    assert (milliseconds(outcome) > 290).sum() >= 1
    assert outcome.completed > 50


def test_a_server_that_never_answers_leaves_everybody_unanswered_and_their_waiting_counted(moody):
    server = moody(lambda _number: (200, 3.0))
    outcome = run(server, Load(2, 50, 0.4, arrivals="even"), patience=0.3)
    found = milliseconds(outcome)
    assert outcome.unanswered == len(found) == 20
    assert found.min() >= 290
    assert outcome.completed == 0


def test_refusals_are_counted_by_status_and_code_and_are_in_no_percentile(moody):
    server = moody(lambda number: (503 if number % 2 else 200, 0.0))
    outcome = run(server, Load(1, 200, 0.5, arrivals="even"))
    assert outcome.errors == {"503 serve.queue-full": 50}
    assert len(milliseconds(outcome)) == 50


def test_a_connection_that_is_cut_is_an_error_and_a_new_one_is_made(moody):
    server = moody(lambda number: (-1 if number == 10 else 200, 0.0))
    outcome = run(server, Load(1, 200, 0.5, arrivals="even"))
    assert outcome.errors == {"connection lost": 1}
    assert len(milliseconds(outcome)) == 99


def test_warming_up_is_left_out(moody):
    server = moody()
    outcome = run(server, Load(2, 200, 0.3, warm=0.2, arrivals="even"))
    assert len(milliseconds(outcome)) == 60
    assert server.asked == 100


def test_answers_are_sampled_all_along_the_load_and_boundedly(moody):
    outcome = run(moody(), Load(4, 0.0, 0.4, samples=8))
    assert 1 <= len(outcome.samples) < 16
    assert set(outcome.samples) == {(0, b"{}")}


def test_several_generators_are_one_load(moody):
    server = moody()
    with Generators(Job("127.0.0.1", server.port, [ASK]), 2) as generators:
        open_loop = generators.measure(Load(4, 100, 0.5, arrivals="even"))
        closed = generators.measure(Load(1, 0.0, 0.2))
    assert open_loop.figures.answers == 50
    assert closed.figures.answers > 0


def test_a_server_that_is_not_there_is_said_to_be_so():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with (
            Generators(Job("127.0.0.1", taken.getsockname()[1], [ASK]), 1) as generators,
            pytest.raises(UnavailableError) as caught,
        ):
            generators.measure(Load(1, 0.0, 0.1))
    assert caught.value.code == "bench.cannot-connect"
