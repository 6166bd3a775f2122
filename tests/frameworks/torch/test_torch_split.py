"""A model over several devices: layers placed by accelerate; the disk stands in for a second device here."""

import copy
import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from modelwright.adapters.frameworks.torch import TorchFramework
from modelwright.adapters.runners.process_loader import ProcessRunners
from modelwright.core.device import parse_devices
from modelwright.core.errors import BadInputError
from modelwright.native.torch_model import answering
from modelwright.native.torch_split import over_devices
from modelwright.pack import build
from modelwright.ports.framework import Hints

CODE = str(Path(__file__).with_name("nets.py"))


def deep():
    torch.manual_seed(3)
    return nn.Sequential(*(nn.Sequential(nn.Linear(32, 32), nn.Tanh()) for _ in range(8)), nn.Linear(32, 2)).eval()


def asked():
    return {"x": np.random.default_rng(5).normal(size=(6, 32)).astype(np.float32)}


def test_a_module_that_one_place_cannot_hold_is_spread_and_answers_as_the_whole():
    whole = deep()
    feeds = asked()
    wanted = answering(whole, ["y"], "cpu")(feeds)["y"]
    size = sum(parameter.nbytes for parameter in whole.parameters())
    spread, first = over_devices(copy.deepcopy(whole), ["cpu"], limits=[size // 2])
    assert set(spread.hf_device_map.values()) == {"cpu", "disk"}
    np.testing.assert_allclose(answering(spread, ["y"], first)(feeds)["y"], wanted, atol=1e-6)


def test_what_lies_on_the_disk_is_gone_with_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module = deep()
    spread, _ = over_devices(module, ["cpu"], limits=[sum(part.nbytes for part in module.parameters()) // 2])
    assert list(tmp_path.iterdir()) != []
    del spread, module
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def package(trained, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("split") / "weights.pt"
    torch.save(trained.state_dict(), path)
    hints = Hints({}, {"factory": f"{CODE}:build", "split": "auto"})
    made = TorchFramework().convert(path, rows, hints=hints)
    return build(made, name="deep", examples=rows, created_at="2026-01-01T00:00:00+00:00")


def test_a_split_package_says_so_and_one_process_is_told_all_devices(package, trained, rows):
    assert package.native.split
    assert "split over the devices" in package.description.notes["route"]
    matrix = np.stack([rows[name] for name in rows.names], axis=1).astype(np.float32)
    runner = ProcessRunners(isolation="strict").load(package)
    try:
        found = runner.run({"x": matrix})["output"]
    finally:
        runner.close()
    with torch.inference_mode():
        np.testing.assert_allclose(found, copy.deepcopy(trained).eval()(torch.from_numpy(matrix)).numpy(), atol=1e-5)


def test_a_program_cannot_be_split(trained, rows):
    free = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(copy.deepcopy(trained).eval(), (torch.zeros(4, 3),), dynamic_shapes=(free,))
    with pytest.raises(BadInputError) as refused:
        TorchFramework().convert(program, rows, hints=Hints({}, {"split": "auto"}))
    assert refused.value.code == "pack.unsplittable"


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices, which this machine does not have")
def test_a_module_is_spread_over_two_gpus():
    whole = deep()
    feeds = asked()
    wanted = answering(whole, ["y"], "cpu")(feeds)["y"]
    size = sum(parameter.nbytes for parameter in whole.parameters())
    spread, first = over_devices(copy.deepcopy(whole), ["cuda:0", "cuda:1"], limits=[size * 2 // 3, size])
    assert {0, 1} <= set(spread.hf_device_map.values())
    np.testing.assert_allclose(answering(spread, ["y"], first)(feeds)["y"], wanted, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, which this machine does not have")
def test_a_native_package_runs_on_the_gpu_that_it_is_given(trained, rows):
    made = TorchFramework().convert(copy.deepcopy(trained), rows, route="native", isolation="off")
    package = build(made, name="net", examples=rows, created_at="2026-01-01T00:00:00+00:00")
    runner = ProcessRunners(isolation="off", memory_bytes=2**42, wish=parse_devices("cuda:0")).load(package)
    try:
        found = runner.run(dict(made.inputs))["output"]
    finally:
        runner.close()
    np.testing.assert_allclose(found, made.outputs["output"], atol=1e-4)
