"""Answers in chunks over gRPC, as NVIDIA's own client asks for them."""

import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from modelwright.core.signature import Signature, TensorSpec

COUNTER = """
    import time
    import numpy as np

    def predict(inputs):
        return {"y": inputs["x"]}

    def stream(inputs):
        for number in range(int(inputs["x"][0, 0])):
            if number == 1000:
                raise ValueError("enough")
            yield {"y": np.full((1, 1), number)}
"""
REMEMBERING = """
    import numpy as np

    def predict(inputs, sequence):
        total = sequence.state["total"] = sequence.state.get("total", 0) + inputs["x"].sum()
        return {"y": np.full((1, 1), total)}
"""
SIGNATURE = Signature((TensorSpec("x", "INT64", (-1, 1)),), (TensorSpec("y", "INT64", (-1, 1)),))


@pytest.fixture(scope="module")
def counting(tmp_path_factory, gateway_process, code_package):
    package = code_package(COUNTER, "counter", SIGNATURE, streams=True)
    other = code_package(REMEMBERING, "sum", SIGNATURE, sequences=True, row_independent=False)
    gateway = gateway_process(tmp_path_factory.mktemp("decoupled") / "home", [package, other], "--no-auth")
    yield gateway
    assert gateway.stop() == 0


def tensor(value):
    given = triton.InferInput("x", [1, 1], "INT64")
    given.set_data_from_numpy(np.array([[value]]))
    return [given]


def asked(gateway, *values, **options):
    """What comes for each request until its final response: values, and the errors' words."""
    came, found = queue.Queue(), []
    with triton.InferenceServerClient(gateway.grpc) as client:
        client.start_stream(lambda result, error: came.put((result, error)))
        for value in values:
            client.async_stream_infer("counter", tensor(value), enable_empty_final_response=True, **options)
        left = len(values)
        while left:
            result, error = came.get(timeout=60)
            if error is not None:
                found.append(str(error))
                left -= 1
                continue
            if result.get_response().parameters["triton_final_response"].bool_param:
                left -= 1
            else:
                found.append(result.as_numpy("y").item())
        client.stop_stream(cancel_requests=True)
    return found


def test_one_request_has_many_answers_and_an_empty_last_one(counting):
    assert asked(counting, 5, 0, 2) == [0, 1, 2, 3, 4, 0, 1]


def test_a_model_that_fails_in_the_middle_ends_its_request_and_not_the_stream(counting):
    found = asked(counting, 2000, 1)
    assert found[:1000] == list(range(1000))
    assert "enough" in found[1000]
    assert found[1001:] == [0]


def test_the_configuration_says_that_a_request_may_have_many_answers(counting):
    with triton.InferenceServerClient(counting.grpc) as client:
        assert client.get_model_config("counter").config.model_transaction_policy.decoupled


def test_a_stream_that_is_cancelled_stops_the_model_and_frees_its_place(counting):
    for _ in range(40):  # more than the model makes at once
        with triton.InferenceServerClient(counting.grpc) as client:
            came = queue.Queue()
            client.start_stream(lambda result, error, came=came: came.put((result, error)))
            client.async_stream_infer("counter", tensor(999))
            assert came.get(timeout=60)[1] is None
            client.stop_stream(cancel_requests=True)
    assert asked(counting, 3) == [0, 1, 2]


def test_a_sequence_goes_on_from_call_to_call(counting):
    with triton.InferenceServerClient(counting.grpc) as client:
        found = [
            client.infer("sum", tensor(value), sequence_id="s", sequence_start=value == 1, sequence_end=value == 3)
            .as_numpy("y")
            .item()
            for value in (1, 2, 3)
        ]
        with pytest.raises(InferenceServerException, match="no such sequence"):
            client.infer("sum", tensor(4), sequence_id="s")
    assert found == [1, 3, 6]
