"""Configuration, statistics and classes, with the real client."""

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from modelwright.core.signature import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("X", "FP32", (-1, 3)),),
    (TensorSpec("scores", "FP32", (-1, 3)), TensorSpec("label", "BYTES", (-1,))),
    classes=("low", "middle", "high"),
    score_output="scores",
    label_output="label",
)


def scored(inputs):
    """The row itself as scores; a negative one is an error."""
    if (inputs["X"] < 0).any():
        raise ValueError("negative")
    best = np.array([SIGNATURE.classes[index] for index in inputs["X"].argmax(axis=1)], dtype=object)
    return {"scores": inputs["X"], "label": best}


@pytest.fixture
def scores(packaged):
    return packaged("scores", SIGNATURE), scored


def rows(*values):
    tensor = triton.InferInput("X", [len(values), 3], "FP32")
    tensor.set_data_from_numpy(np.array(values, dtype=np.float32))
    return [tensor]


def test_classes_are_given_by_score_with_their_labels(inside, scores):
    with inside(scores) as server, triton.InferenceServerClient(server.address) as client:
        wanted = [triton.InferRequestedOutput("scores", class_count=2), triton.InferRequestedOutput("label")]
        answer = client.infer("scores", rows([0.25, 0.5, 0.125], [3, 1, 2]), outputs=wanted)
        assert answer.as_numpy("scores").tolist() == [
            [b"0.500000:1:middle", b"0.250000:0:low"],
            [b"3.000000:0:low", b"2.000000:2:high"],
        ]
        assert answer.as_numpy("label").tolist() == [b"middle", b"low"]
        assert answer.get_output("scores").datatype == "BYTES"
        with pytest.raises(InferenceServerException, match="numeric"):
            client.infer("scores", rows([1, 2, 3]), outputs=[triton.InferRequestedOutput("label", class_count=1)])
        refused = triton.InferRequestedOutput("scores", class_count=-1)
        with pytest.raises(InferenceServerException, match="whole number"):
            client.infer("scores", rows([1, 2, 3]), outputs=[refused])


def test_statistics_add_up(inside, scores):
    with inside(scores) as server, triton.InferenceServerClient(server.address) as client:
        before = client.get_inference_statistics("scores").model_stats[0]
        assert (before.name, before.version, before.inference_count, before.execution_count) == ("scores", "1", 0, 0)
        for count in (1, 2, 3):
            client.infer("scores", rows(*[[1, 2, 3]] * count))
        with pytest.raises(InferenceServerException):
            client.infer("scores", rows([-1, 2, 3]))
        (after,) = client.get_inference_statistics("scores", "1").model_stats
        stats = after.inference_stats
        assert (stats.success.count, stats.fail.count, stats.compute_infer.count) == (3, 1, 3)
        assert (after.inference_count, after.execution_count) == (6, 3)
        assert 0 < stats.compute_infer.ns + stats.queue.ns <= stats.success.ns
        assert stats.fail.ns > 0
        assert after.last_inference > before.last_inference
        assert stats.queue.count == 3
        assert [batch.batch_size for batch in after.batch_stats] == [1, 2, 3]
        assert client.get_inference_statistics().model_stats == client.get_inference_statistics("scores").model_stats
        with pytest.raises(InferenceServerException, match="NOT_FOUND"):
            client.get_inference_statistics("scores", "2")


def test_the_configuration_says_what_the_metadata_says(serving):
    with triton.InferenceServerClient(serving.grpc) as client:
        config = client.get_model_config("every").config
        metadata = client.get_model_metadata("every")
        assert (config.name, config.platform, config.max_batch_size) == ("every", metadata.platform, 0)
        told = [(tensor.name, list(tensor.dims)) for tensor in (*config.input, *config.output)]
        assert told == [(tensor.name, list(tensor.shape)) for tensor in (*metadata.inputs, *metadata.outputs)]
        kind = type(config.input[0]).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
        datatypes = [kind[tensor.data_type].name.removeprefix("TYPE_") for tensor in config.input]
        assert datatypes == ["STRING" if t.datatype == "BYTES" else t.datatype for t in metadata.inputs]
        batched = client.get_model_config("total").config
        assert (batched.max_batch_size, list(batched.input[0].dims), list(batched.output[0].dims)) == (8192, [3], [1])
        assert batched.HasField("dynamic_batching")
        with pytest.raises(InferenceServerException, match="NOT_FOUND"):
            client.get_model_config("nothing")


def test_what_the_server_lists_is_what_it_keeps_in_full(serving):
    with triton.InferenceServerClient(serving.grpc) as client:
        listed = set(client.get_server_metadata().extensions)
        assert listed == {"classification", "model_configuration", "parameters", "statistics"}
        with pytest.raises(InferenceServerException) as caught:
            client.register_system_shared_memory("region", "/region", 12)
        assert caught.value.status() == "StatusCode.UNIMPLEMENTED"
        by_reference = triton.InferInput("X", [1, 3], "FP32")
        by_reference.set_shared_memory("region", 12)
        with pytest.raises(InferenceServerException, match="shared memory") as caught:
            client.infer("total", [by_reference])
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        output = triton.InferRequestedOutput("total")
        output.set_shared_memory("region", 12)
        given = triton.InferInput("X", [1, 3], "FP32")
        given.set_data_from_numpy(np.zeros((1, 3), dtype=np.float32))
        with pytest.raises(InferenceServerException, match="shared memory"):
            client.infer("total", [given], outputs=[output])
