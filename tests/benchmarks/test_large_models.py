import pytest

import large_models
from modelwright.core.content import LARGE_BYTES

MEGABYTES = 64


@pytest.mark.parametrize("beside", [True, False])
def test_a_large_model_is_packed_stored_and_loaded_without_a_second_copy_in_memory(tmp_path, beside):
    large_models.make(tmp_path / "large.onnx", MEGABYTES, beside=beside)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size > LARGE_BYTES
    for name in large_models.STEPS:
        raised = large_models.measured(name, tmp_path) / size
        assert raised < 1.5, f"{name} took {raised:.2f} times the model's size"
