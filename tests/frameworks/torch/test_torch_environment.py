from importlib.metadata import distributions

import torch


def test_torch_is_the_pinned_one_and_nothing_pulls_a_build_for_cuda():
    assert torch.__version__.split("+")[0] == "2.13.0"
    assert not [found.name for found in distributions() if found.name.startswith("nvidia-")]
