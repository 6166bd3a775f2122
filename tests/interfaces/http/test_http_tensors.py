import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES
from modelwright.interfaces.http.tensors import decode_json

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)


def decode(datatype, values, shape):
    return decode_json("x", datatype, shape, msgspec.Raw(json.dumps(values).encode()))


@given(st.lists(NUMBERS, max_size=5), st.sampled_from(["FP16", "FP32", "FP64"]))
def test_a_number_is_rounded_to_its_datatype_or_refused_and_never_made_infinite(values, datatype):
    with np.errstate(over="ignore"):
        expected = np.array([float(value) for value in values], dtype=DATATYPES[datatype])
    if np.isfinite(expected).all():
        tensor, missing = decode(datatype, values, [len(values)])
        assert tensor.dtype == DATATYPES[datatype]
        assert tensor.tolist() == expected.tolist()
        assert missing is None
    else:
        with pytest.raises(BadInputError) as refused:
            decode(datatype, values, [len(values)])
        assert refused.value.code == "serve.bad-data"


@given(st.lists(st.none() | st.floats(-1e4, 1e4, width=16), min_size=1), st.booleans())
def test_a_missing_number_is_nan_and_marked_flat_or_nested(values, nested):
    tensor, missing = decode("FP16", [[value] for value in values] if nested else values, [len(values), 1])
    gaps = [value is None for value in values]
    assert np.isnan(tensor).ravel().tolist() == gaps
    assert (missing.ravel().tolist() if any(gaps) else missing) == (gaps if any(gaps) else None)
    assert tensor[~np.isnan(tensor)].tolist() == [value for value in values if value is not None]


@pytest.mark.parametrize("shape", [[2**31 - 1, 0], [0, 2**31 - 1], [0, *[2**16] * 5], [2**31 - 1] * 200_000])
def test_a_shape_that_its_data_cannot_bound_is_refused_at_once(shape):
    with pytest.raises(BadInputError) as refused:
        decode("FP32", [], shape)
    assert refused.value.code == "serve.bad-shape"


def test_a_tensor_may_have_no_elements():
    assert decode("FP32", [], [1, 12, 0, 64])[0].shape == (1, 12, 0, 64)
