import numpy as np
import pytest

from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.columns import feeds, input_columns, output_columns, score_column
from modelwright.features.describe import MAX_CATEGORIES, describe
from modelwright.testing.errors import error_code

SIGNATURE = Signature(
    inputs=(
        TensorSpec("X", "FP32", (-1, 2), ("hour", "weekend")),
        TensorSpec("carrier", "BYTES", (-1, 1), ("carrier",)),
        TensorSpec("count", "INT64", (-1, 1), ("count",)),
    ),
    outputs=(TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2))),
    features=(
        Feature("hour", "number", nullable=True),
        Feature("weekend", "boolean"),
        Feature("carrier", "category", categories=("AA", "UA"), null_as=""),
        Feature("count", "number"),
    ),
    task="binary",
    classes=("0", "1"),
    label_output="label",
    score_output="probabilities",
)
ROWS = Table(
    {
        "hour": np.array([1.5, np.nan]),
        "weekend": np.array([True, False]),
        "carrier": np.array(["AA", None], dtype=object),
        "count": np.array([3, 4]),
    }
)


def test_columns_survive_the_way_through_the_tensors():
    tensors = feeds(SIGNATURE, ROWS)
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()} == {
        "X": (np.float32, (2, 2)),
        "carrier": (object, (2, 1)),
        "count": (np.int64, (2, 1)),
    }
    back = input_columns(SIGNATURE, tensors)
    for name in ROWS.names:
        np.testing.assert_array_equal(back[name], ROWS[name])
    assert back["weekend"].dtype == bool


def test_missing_text_is_missing_again_even_where_training_had_none():
    assert input_columns(SIGNATURE, feeds(SIGNATURE, ROWS))["carrier"].tolist() == ["AA", None]


@pytest.mark.parametrize(
    ("name", "values", "code"),
    [
        ("hour", np.array(["noon", "x"], dtype=object), "features.not-a-number"),
        ("count", np.array([1.5, 2.0]), "features.not-whole"),
        ("count", np.array([1.0, np.nan]), "features.missing-value"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(name, values, code):
    assert error_code(feeds, SIGNATURE, Table({**ROWS.columns, name: values})) == code


def test_a_missing_column_is_named():
    assert error_code(feeds, SIGNATURE, ROWS.without("carrier")) == "features.missing-column"


def test_outputs_become_one_column_for_each_class():
    made = output_columns(SIGNATURE, {"label": np.array([1, 0]), "probabilities": np.array([[0.2, 0.8], [0.6, 0.4]])})
    assert list(made) == ["label", "probabilities.0", "probabilities.1"]
    assert made[score_column(SIGNATURE)].tolist() == [0.8, 0.4]


def test_a_feature_is_described_by_everything_seen_of_it():
    number = describe("a", [np.array([1.0, np.nan]), np.array([-3, 7])])
    assert (number.kind, number.nullable, number.low, number.high) == ("number", True, -3.0, 7.0)
    text = describe("b", [np.array(["x", None], dtype=object), np.array(["y"], dtype=object)], null_as="nan")
    assert (text.kind, text.nullable, text.categories, text.null_as) == ("category", True, ("x", "y"), "nan")
    assert describe("c", [np.array([True])]).kind == "boolean"
    assert describe("d", [np.array([np.nan])]).low is None
    many = np.array([str(index) for index in range(MAX_CATEGORIES + 1)], dtype=object)
    assert describe("e", [many]).categories == ()
