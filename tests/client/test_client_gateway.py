"""The client before a real gateway process that is killed, and before a model that is too slow."""

import threading

import numpy as np
import pytest

from kit.gateways import serving
from modelwright.client import Client, Retries
from modelwright.core.errors import DeadlineError, UnavailableError
from modelwright.testing.runner import FunctionRunners

ROWS = np.ones((1, 3), np.float32)


def test_a_gateway_that_is_killed_under_load_costs_errors_with_words_and_no_wrong_answer(tmp_path, sum_package):
    answered, told = threading.Semaphore(0), []
    with (
        serving(tmp_path, sum_package()) as gateway,
        Client(f"http://127.0.0.1:{gateway.port}", retries=Retries(attempts=1, base=0.0)) as client,
    ):

        def ask(number):
            try:
                for _ in range(100_000):
                    assert client.predict("total", ROWS * number).outputs["total"].tolist() == [[3.0 * number]]
                    answered.release()
            except UnavailableError as error:
                told.append(error.code)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            assert answered.acquire(timeout=60)
        gateway.popen.kill()
        for thread in threads:
            thread.join(60)
        assert not client.ready()
    assert len(told) == 4
    assert set(told) <= {"client.unreachable", "client.no-answer", "client.answer-cut-off"}


def test_a_model_that_is_too_slow_is_left_at_the_deadline_and_the_next_call_has_its_own_answer(
    serve, function_package, connect
):
    package, run = function_package(factor=2.0)
    release = threading.Event()

    def slow(inputs):
        if inputs["x"].tolist() == [[13.0]]:
            release.wait(60)
        return run(inputs)

    server = serve(package, loader=FunctionRunners({package.digest: slow}), aside=True)
    client = connect(f"http://127.0.0.1:{server.port}")
    assert client.predict("times", {"x": [5.0]}).outputs["y"].tolist() == [[10.0]]
    with pytest.raises(DeadlineError):
        client.predict("times", {"x": [13.0]}, deadline=0.3)
    release.set()
    answer = client.predict("times", {"x": [7.0]})
    assert answer.outputs["y"].tolist() == [[14.0]]
