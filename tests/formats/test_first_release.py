"""Packages written by the first release stay readable for ever; ``write.py`` wrote them, and is not run again."""

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modelwright import wiring
from modelwright.core import package_codec as codec

PACKAGES = Path(__file__).parent / "packages"
DIGESTS = {
    "onnx-1": "95bc40288c2608760170486432cd54151220543660f1680aa7d395bcbc5e8456",
    "native-1": "4fded7ccd6e676d9c30caf6384da236d66d889d3d36b3c7e6266ccd4cf7e94f9",
    "graph-1": "7ca70f462d00bf86aa59d983be60b6738c4e6f0a101ee909323ca30f6e77711c",
}
FORMS = [f"{name}{suffix}" for name in DIGESTS for suffix in (".mw", "")]


@pytest.mark.parametrize("form", FORMS)
def test_a_package_of_the_first_release_is_read_whole_and_keeps_its_identity(form):
    package = wiring.open_package(PACKAGES / form)
    assert package.digest == DIGESTS[package.name]
    assert package.description.route == package.name.removesuffix("-1")
    for name in package.manifest.files:
        package.content(name)
    if package.graph is not None:
        for node, _ in package.graph.models:
            assert codec.open_member(package, node).golden is not None


@pytest.mark.parametrize("form", FORMS)
def test_a_package_of_the_first_release_gives_the_answers_that_it_gave_then(form):
    package = wiring.open_package(PACKAGES / form)
    runner = wiring.runners().load(package)
    try:
        answers = runner.run(codec.golden_tensors(package.signature.inputs, package.golden.inputs))
    finally:
        runner.close()
    for name, wanted in codec.golden_tensors(package.signature.outputs, package.golden.outputs).items():
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(answers[name], wanted, atol=1e-5)
        else:
            np.testing.assert_array_equal(answers[name].astype(wanted.dtype), wanted)


@pytest.fixture
def gateway(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    for name in DIGESTS:
        shutil.copy(PACKAGES / f"{name}.mw", models)
    command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", tmp_path / "home", "--no-auth"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            list(map(str, [*command, "--http", "127.0.0.1:0", "--models", models])),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        found = next(match for line in process.stdout if (match := re.match(r"ready http://(\S+)", line)))
        yield http.client.HTTPConnection(found[1], timeout=60)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_packages_of_the_first_release_are_served(gateway):
    for name in DIGESTS:
        package = wiring.open_package(PACKAGES / f"{name}.mw")
        inputs = [
            {"name": spec.name, "datatype": spec.datatype, "shape": list(np.shape(values)), "data": values}
            for spec in package.signature.inputs
            for values in [package.golden.inputs[spec.name]]
        ]
        gateway.request("POST", f"/v2/models/{name}/infer", json.dumps({"inputs": inputs}))
        answer = gateway.getresponse()
        body = json.loads(answer.read())
        assert answer.status == 200, body
        for output in body["outputs"]:
            wanted = np.array(package.golden.outputs[output["name"]], dtype=float)
            given = np.array(output["data"], dtype=float).reshape(wanted.shape)
            np.testing.assert_allclose(given, wanted, atol=1e-5)
