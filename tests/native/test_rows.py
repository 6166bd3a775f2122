"""Tensors become the rows of training, whatever columns there are."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.describe import describe
from modelwright.native.rows import row_maker

KINDS = {
    "FP64": st.floats(allow_infinity=False, width=64),
    "FP32": st.floats(allow_infinity=False, width=32),
    "INT64": st.integers(-(2**53), 2**53),
    "INT8": st.integers(-128, 127),
    "BOOL": st.booleans(),
    "BYTES": st.one_of(st.none(), st.text(min_size=1, max_size=4)),
}
DTYPES = {"FP64": "float64", "FP32": "float32", "INT64": "int64", "INT8": "int8", "BOOL": "bool", "BYTES": "object"}


class Trained(BaseEstimator):
    """Somebody's own estimator: what it is given must be what it was trained on."""


@st.composite
def tables(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6))
    rows = draw(st.integers(1, 4))
    made = {
        f"c{index}": np.array(draw(st.lists(KINDS[kind], min_size=rows, max_size=rows)), dtype=DTYPES[kind])
        for index, kind in enumerate(kinds)
    }
    return kinds, Table(made), draw(st.permutations(list(made)))


@settings(max_examples=60, deadline=None)
@given(tables())
def test_a_model_of_named_columns_gets_a_frame_with_their_names_kinds_values_and_order(drawn):
    kinds, rows, order = drawn
    signature = Signature(
        tuple(TensorSpec(name, kind, (-1, 1), (name,)) for name, kind in zip(rows.names, kinds, strict=True)),
        (),
        tuple(describe(name, [rows[name]], null_as="") for name in rows.names),
    )
    model = Trained()
    model.feature_names_in_ = np.array(order, dtype=object)
    frame = row_maker(model, signature)(feeds(signature, rows))
    assert list(frame) == order
    for name in order:
        assert frame[name].dtype == rows[name].dtype
        for found, value in zip(frame[name], rows[name], strict=True):
            assert (found == value) or (pd.isna(found) and pd.isna(value))
