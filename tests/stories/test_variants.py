import json
import logging

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelwright import wiring
from modelwright.core import package_codec as codec
from modelwright.core.errors import RefusedError
from modelwright.features.tabular import table
from modelwright.interfaces.cli.app import run
from modelwright.interfaces.embedded import pack
from modelwright.lifecycle import optimize as story

WIDTH = 8
NO_BUDGET = story.Budget()
NAMES = [f"c{index}" for index in range(WIDTH)]


def classifier(path):
    """A network of two layers with random weights, the same each time."""
    rng = np.random.default_rng(7)
    weights = {"w1": (WIDTH, 64), "b1": (64,), "w2": (64, 2)}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"]),
            helper.make_node("Add", ["h", "b1"], ["hb"]),
            helper.make_node("Relu", ["hb"], ["r"]),
            helper.make_node("MatMul", ["r", "w2"], ["z"]),
            helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
        ],
        [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32) / 4, n) for n, s in weights.items()],
    )
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    rows = np.random.default_rng(1).standard_normal((300, WIDTH)).astype(np.float32)
    packed = pack(classifier(folder / "m.onnx"), examples=table(rows, NAMES), name="network")
    packed.save(folder / "m.mw")
    truth = packed.predict(table(rows, NAMES))["label"]
    truth[::10] = 1 - truth[::10]
    lines = [
        ",".join([*NAMES, "y"]),
        *(",".join(map(str, [*row, label])) for row, label in zip(rows, truth, strict=True)),
    ]
    (folder / "rows.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def found(place):
    return {one.kind: one for one in optimized(place)}


def optimized(place, kinds=None, budget=NO_BUDGET):
    make, known = wiring.variants()
    package = wiring.open_package(place / "m.mw")
    bench = wiring.workbench()
    return story.optimize(
        bench, package, place / "rows.csv", target="y", make=make, kinds=kinds or known, budget=budget
    )


def test_every_variant_is_a_package_of_its_own_that_names_its_base(found, place):
    base = wiring.open_package(place / "m.mw")
    assert set(found) == {"base", "optimized-basic", "optimized-extended", "fp16", "int8-dynamic", "int8-static"}
    for kind, one in found.items():
        assert one.package is not None, one.why
        if kind != "base":
            assert one.package.digest != base.digest
            assert one.package.description.notes["base"] == base.digest
            record = json.loads(one.package.read(story.VARIANT))
            assert (record["base"], record["variant"]) == (base.digest, kind)


def test_an_optimised_graph_answers_as_its_base_and_quantized_ones_say_how_far_they_are(found):
    for kind in ("optimized-basic", "optimized-extended"):
        assert found[kind].evidence.max_difference < 1e-6
        assert found[kind].evidence.label_flips == 0
    for kind in ("fp16", "int8-dynamic", "int8-static"):
        assert found[kind].evidence.max_difference > 0
        change = found[kind].evidence.metrics["log_loss"]
        assert change.low <= change.change <= change.high


def test_a_variant_reproduces_its_own_golden_rows(found):
    for one in found.values():
        package = one.package
        given = codec.golden_tensors(package.signature.inputs, package.golden.inputs)
        wanted = codec.golden_tensors(package.signature.outputs, package.golden.outputs)
        answers = wiring.runners().load(package).run(given)
        for name, tensor in wanted.items():
            np.testing.assert_allclose(answers[name], tensor, atol=1e-5)


def test_eight_bits_and_half_precision_are_measured_against_the_size_of_the_base(found):
    for one in found.values():
        assert one.evidence.size_ratio == one.evidence.size / found["base"].evidence.size


def test_advice_of_the_quantizer_is_not_printed_and_nobody_else_is_silenced(place, caplog):
    optimized(place, ["int8-dynamic"])
    assert [record for record in caplog.records if record.name == "root"] == []
    logging.getLogger("modelwright.served").warning("heard")
    assert caplog.messages[-1] == "heard"


def test_calibration_rows_are_not_measured_on(found):
    assert {one.evidence.rows for one in found.values()} == {240}


def test_a_budget_that_nobody_keeps_says_of_each_why(place):
    with pytest.raises(RefusedError) as caught:
        story.best(optimized(place, ["fp16"], story.Budget(metrics={"accuracy": 0.999})))
    assert caught.value.code == "optimize.over-budget"
    assert "base: accuracy is" in caught.value.why
    assert "fp16: accuracy is" in caught.value.why


def test_a_graph_without_anything_to_quantize_says_so(tmp_path, place):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "same",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "same.onnx").write_bytes(model.SerializeToString())
    make, _ = wiring.variants()
    for kind in ("int8-dynamic", "fp16"):
        with pytest.raises(RefusedError) as caught:
            make(pack(tmp_path / "same.onnx", name="same").package, kind, {})
        assert caught.value.code == "optimize.not-applicable"


def test_the_command_writes_the_chosen_variant_and_refuses_with_status_3(place, tmp_path, capsys):
    said = ["optimize", str(place / "m.mw"), "--data", str(place / "rows.csv"), "--target", "y", "--json"]
    out = tmp_path / "out.mw"
    assert run([*said, "--variant", "fp16", "--max-size-mb", "1", "-o", str(out)]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [one["variant"] for one in body["variants"]] == ["base", "fp16"]
    assert wiring.open_package(out).digest == next(
        one["digest"] for one in body["variants"] if one["variant"] == body["chosen"]
    )
    assert run([*said, "--variant", "fp16", "--max-size-mb", "0.000001"]) == 3
    assert run([*said, "--variant", "int3"]) == 2
    assert run([*said, "--min-metric", "charm=1"]) == 2
