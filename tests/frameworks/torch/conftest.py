from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from modelwright.core.table import Table


def load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def nets():
    """The module that a user would have trained with."""
    return load("nets")


@pytest.fixture(scope="session")
def rows():
    random = np.random.default_rng(7)
    return Table({name: random.normal(size=40) for name in ("length", "width", "height")})


@pytest.fixture(scope="session")
def trained(nets, rows):
    """A network after a few steps of training, left in training mode."""
    net = nets.seeded(nets.Net)
    matrix = torch.tensor(np.stack([rows[name] for name in rows.names], axis=1), dtype=torch.float32)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(matrix), matrix[:, :2]).backward()
        optimizer.step()
    return net
