"""Sequences of requests at a real gateway, over two processes of a model that keeps count of each."""

import http.client
import json
import os
import signal
import threading
import time

import numpy as np
import pytest
import tritonclient.http as triton

from kit.gateways import serving
from kit.servers import Server, children_of, register
from modelwright.core.signature import Signature, TensorSpec

COUNTER = """
    import os
    import numpy as np

    def predict(inputs, sequence):
        state = sequence.state
        seen = state.setdefault("seen", [])
        seen.append(int(inputs["x"][0, 0]))
        shape = inputs["x"].shape
        return {
            "count": np.full(shape, len(seen)), "last": np.full(shape, seen[-2] if len(seen) > 1 else -1),
            "pid": np.full(shape, os.getpid()),
        }
"""
NAMES = {"start": "sequence_start", "end": "sequence_end"}
SIGNATURE = Signature(
    (TensorSpec("x", "INT64", (-1, 1)),), tuple(TensorSpec(name, "INT64", (-1, 1)) for name in ("count", "last", "pid"))
)


@pytest.fixture(scope="module")
def counter(code_package):
    return code_package(COUNTER, "counter", SIGNATURE, sequences=True, row_independent=False)


@pytest.fixture
def gateway(tmp_path, counter):
    with serving(tmp_path, counter, native_instances=2, queue_seconds=20, sequence_idle_seconds=600) as running:
        limit = time.monotonic() + 60
        while not running.metric("modelwright_runner_restarts"):  # the second process is there
            assert time.monotonic() < limit
            time.sleep(0.02)
        yield running


class Asker:
    """One connection."""

    def __init__(self, gateway, token=""):
        self.client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, value, identity=None, **flags):
        """Status, and count, last value and process id, or the code of the error."""
        tensor = {"name": "x", "datatype": "INT64", "shape": [1, 1], "data": [value]}
        named = {} if identity is None else {"sequence_id": identity}
        parameters = named | {NAMES.get(name, name): flag for name, flag in flags.items()}
        self.client.request(
            "POST", "/v2/models/counter/infer", json.dumps({"inputs": [tensor], "parameters": parameters}), self.headers
        )
        answer = self.client.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200:
            return answer.status, answer.headers["modelwright-error"]
        return answer.status, *(output["data"][0] for output in body["outputs"])


def test_each_sequence_keeps_its_count_in_one_process_and_two_are_used(gateway):
    asker = Asker(gateway)
    pids = {}
    for identity in (7, "eight", "nine", "ten"):
        found = [asker.ask(value, identity, start=value == 0) for value in range(4)]
        assert [(count, last) for _, count, last, _ in found] == [(1, -1), (2, 0), (3, 1), (4, 2)]
        pids[identity] = {pid for *_, pid in found}
        assert len(pids[identity]) == 1
    assert len(set.union(*pids.values())) == len(gateway.children)
    assert asker.ask(5)[1] == 1  # a request of no sequence has no state before it


def test_requests_of_one_sequence_are_answered_in_their_order_although_others_come_between(gateway):
    found = {}

    def run(identity):
        asker = Asker(gateway)
        found[identity] = [asker.ask(value, identity, start=value == 0) for value in range(60)]

    threads = [threading.Thread(target=run, args=(f"s{number}",)) for number in range(8)]
    loner = Asker(gateway)
    for thread in threads:
        thread.start()
    alone = [loner.ask(1)[0] for _ in range(60)]
    for thread in threads:
        thread.join(60)
    assert alone == [200] * 60
    for answers in found.values():
        assert [(count, last) for _, count, last, _ in answers] == [(n + 1, n - 1) for n in range(60)]


def test_a_sequence_begins_with_a_start_and_is_gone_after_its_end(gateway):
    asker = Asker(gateway)
    assert asker.ask(1, "a") == (400, "serve.unknown-sequence")
    assert asker.ask(1, "a", start=True)[1] == 1
    assert asker.ask(1, "a", end=True)[1] == 2
    assert asker.ask(1, "a") == (400, "serve.unknown-sequence")
    assert asker.ask(1, "a", start=True)[1] == 1
    assert asker.ask(1, "a", start=True)[1] == 1
    assert asker.ask(1, "x" * 200, start=True) == (400, "serve.bad-sequence")
    assert asker.ask(1, "a", row_errors=True) == (400, "serve.bad-sequence")


def test_a_process_that_dies_ends_its_sequences_with_an_error_and_they_can_begin_anew(gateway):
    asker = Asker(gateway)
    pids = {identity: asker.ask(0, identity, start=True)[3] for identity in range(1, 5)}
    os.kill(victim := pids[1], signal.SIGKILL)
    for identity, pid in pids.items():
        found = asker.ask(1, identity)
        assert found == (409, "serve.sequence-lost") if pid == victim else found[1] == 2
    assert asker.ask(1, 1) == (409, "serve.sequence-lost")
    assert asker.ask(1, 1, start=True)[1] == 1
    assert asker.ask(1, 1)[1] == 2


def test_nvidias_client_counts_on(gateway):
    with triton.InferenceServerClient(f"127.0.0.1:{gateway.port}") as client:
        given = triton.InferInput("x", [1, 1], "INT64")
        given.set_data_from_numpy(np.array([[3]]))
        counts = [
            client.infer("counter", [given], sequence_id=99, sequence_start=n == 0, sequence_end=n == 2)
            .as_numpy("count")
            .item()
            for n in range(3)
        ]
    assert counts == [1, 2, 3]


@pytest.fixture
def server(tmp_path, counter):
    """Two gateways, each with a process of the model."""
    register(tmp_path / "home", counter)
    running = Server(tmp_path / "home", "--workers", "2")
    limit = time.monotonic() + 60
    while len(running.gateways) < 2:
        assert time.monotonic() < limit
        time.sleep(0.02)
    yield running
    assert running.stop() == 0


def anew(server, *arguments, **flags):
    """An answer over a connection of its own, which reaches either gateway."""
    asker = Asker(server, server.token)
    try:
        return asker.ask(*arguments, **flags)
    finally:
        asker.client.close()


def test_a_sequence_goes_on_over_whatever_connection_and_gateway_it_is_asked(server):
    pids = {}
    for identity in range(1, 9):
        found = [anew(server, value, identity, start=value == 0) for value in range(6)]
        assert [status for status, *_ in found] == [200] * 6, found
        assert [(count, last) for _, count, last, _ in found] == [(n + 1, n - 1) for n in range(6)]
        pids[identity] = {pid for *_, pid in found}
        assert len(pids[identity]) == 1
    assert len(set.union(*pids.values())) == 2  # both gateways keep some
    assert anew(server, 1, "never begun") == (400, "serve.unknown-sequence")
    assert [anew(server, 1, 1, end=True)[1], anew(server, 1, 1)] == [7, (400, "serve.unknown-sequence")]


def test_what_is_passed_on_is_on_record_once_and_errors_keep_their_words(server):
    identities = [f"s{number}" for number in range(8)]
    for identity in identities:
        assert anew(server, 0, identity, start=True)[1] == 1
        assert anew(server, 0, f"not {identity}") == (400, "serve.unknown-sequence")
    asker = Asker(server, server.token)
    asker.client.request("GET", "/metrics", headers=asker.headers)
    text = asker.client.getresponse().read().decode()
    counted = [line for line in text.splitlines() if line.startswith("modelwright_predictions_total{")]
    assert sum(float(line.rpartition(" ")[2]) for line in counted if 'status="ok"' in line) == len(identities)


def test_a_killed_gateway_loses_its_sequences_and_no_others_and_new_ones_can_begin(server):
    pids = {identity: anew(server, 0, identity, start=True)[3] for identity in range(1, 9)}
    killed = server.gateways[0]
    victims = {identity for identity, pid in pids.items() if pid in children_of(killed)}
    assert victims
    assert victims != set(pids)
    os.kill(killed, signal.SIGKILL)
    for identity in pids:
        found = anew(server, 1, identity)
        assert (
            found in ((400, "serve.unknown-sequence"), (409, "serve.sequence-lost"))
            if identity in victims
            else (found[1] == 2)
        )
        assert anew(server, 1, identity, start=True)[1] == 1


def test_a_server_that_stops_answers_what_it_passed_on_to_a_gateway_that_says_nothing(server):
    pids = {identity: anew(server, 0, identity, start=True)[3] for identity in range(1, 9)}
    silent = server.gateways[0]
    mine = [identity for identity, pid in pids.items() if pid in children_of(silent)]
    os.kill(silent, signal.SIGSTOP)
    found = []

    def ask(identity):
        try:
            found.append(anew(server, 1, identity))
        except OSError:  # it reached the one that says nothing
            found.append(None)

    threads = [threading.Thread(target=ask, args=(identity,)) for identity in mine * 4]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    server.popen.send_signal(signal.SIGTERM)
    limit = time.monotonic() + 20
    while (409, "serve.sequence-lost") not in found:
        assert time.monotonic() < limit, found
        time.sleep(0.02)
    os.kill(silent, signal.SIGCONT)
    for thread in threads:
        thread.join(60)
    assert set(found) <= {None, (409, "serve.sequence-lost")} | {one for one in found if one and one[0] == 200}
