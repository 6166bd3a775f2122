"""A package that answers otherwise than when it was packed is not served, be it a graph or code."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

import modelwright as mw
from modelwright import wiring
from modelwright.check.gates import golden_reproduces
from modelwright.core import package_codec as codec
from modelwright.core.errors import RefusedError
from modelwright.serve.load import prove

AGE = np.linspace(20.0, 80.0, 40)
NUMBERS = {"age": AGE, "spend": AGE[::-1].copy()}
LATE = (AGE > 50).astype(int)


@pytest.fixture(scope="module", params=["onnx", "native"])
def packed(request):
    rows = np.stack(list(NUMBERS.values()), axis=1)
    model = (LogisticRegression() if request.param == "onnx" else NearestCentroid()).fit(rows, LATE)
    package = mw.pack(model, name="late", examples=rows, target="late").package
    assert package.description.route == request.param
    return package


def tampered(package, row):
    """The package, with another label for one of its golden rows."""
    golden = package.golden
    labels = list(golden.outputs["label"])
    labels[row] = 1 - labels[row]
    changed = type(golden)(golden.inputs, {**golden.outputs, "label": labels}, golden.rows, golden.adversarial)
    files = {name: package.read(name) for name in package.manifest.files}
    return codec.assemble("late", {**files, codec.GOLDEN: codec.golden_json(changed)})


def test_graphs_and_code_prove_their_examples_and_their_adversarial_rows_when_they_load(packed):
    assert packed.golden.adversarial > 0
    prove(packed, wiring.runners(), threads=1).runner.close()
    for row in (0, packed.golden.rows - 1):
        with pytest.raises(RefusedError) as caught:
            prove(tampered(packed, row), wiring.runners(), threads=1)
        assert caught.value.code == "serve.golden-mismatch"


def test_check_says_no_where_an_adversarial_row_is_not_reproduced(packed):
    runner = wiring.runners().load(packed)
    try:
        assert golden_reproduces(packed, runner).passed
        assert not golden_reproduces(tampered(packed, packed.golden.rows - 1), runner).passed
    finally:
        runner.close()
