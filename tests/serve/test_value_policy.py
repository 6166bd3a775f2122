import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Feature, InputPolicy, Signature, TensorSpec
from modelwright.serve.policy import ValuePolicy

FEATURES = (
    Feature("temp", "number", low=-10.0, high=35.0),
    Feature("wind", "number", nullable=True, low=0.0),
    Feature("carrier", "category", categories=("AA", "UA"), null_as="?"),
    Feature("gate", "category", categories=("A1",)),
)
INPUTS = (
    TensorSpec("weather", "FP64", (-1, 2), ("temp", "wind")),
    TensorSpec("carrier", "BYTES", (-1, 1)),
    TensorSpec("gate", "BYTES", (-1, 1)),
)


def policy(**declared):
    return ValuePolicy("m", Signature(INPUTS, (), FEATURES, policy=InputPolicy(**declared)))


def rows(weather, carriers=None, gates=None):
    count = len(weather)
    return {
        "weather": np.array(weather, np.float64),
        "carrier": np.array([carriers or ["AA"] * count], object).T,
        "gate": np.array([gates or ["A1"] * count], object).T,
    }


def refused(call, *arguments):
    with pytest.raises(BadInputError) as caught:
        call(*arguments)
    return caught.value


def test_what_is_accepted_costs_no_look():
    taking = policy(not_finite="accept")
    assert not taking.checks_finite
    assert not taking.checks_values


def test_a_number_out_of_range_is_refused_with_its_place_and_what_was_expected():
    error = refused(policy(out_of_range="reject").judge, rows([[0, 1], [41.5, 1]]))
    assert error.code == "serve.out-of-range"
    assert error.details == {"pointer": "/inputs/weather/1/0", "expected": "a number from -10 to 35", "got": "41.5"}


def test_one_open_end_of_a_range_bounds_nothing_there():
    assert policy(out_of_range="reject").judge(rows([[0, 1e9]]))[1] == ()
    assert refused(policy(out_of_range="reject").judge, rows([[0, -1]])).details["pointer"] == "/inputs/weather/0/1"


def test_warning_changes_nothing_and_names_the_feature():
    given_rows = rows([[41.5, 1]], ["ZZ"])
    changed, reports = policy(out_of_range="warn", unseen_category="warn").judge(given_rows)
    assert reports == ("out-of-range temp", "unseen-category carrier")
    assert all(changed[name] is given_rows[name] for name in given_rows)


def test_coercion_gives_the_nearest_bound_and_the_missing_level_and_leaves_what_was_sent():
    given_rows = rows([[41.5, 1], [-99, 1], [3, 1]], ["ZZ", "UA", "ZZ"])
    changed, reports = policy(out_of_range="coerce", unseen_category="coerce").judge(given_rows)
    assert changed["weather"][:, 0].tolist() == [35, -10, 3]
    assert changed["carrier"][:, 0].tolist() == ["?", "UA", "?"]
    assert given_rows["weather"][:, 0].tolist() == [41.5, -99, 3]
    assert reports == ("out-of-range temp", "unseen-category carrier")


def test_a_level_that_nothing_can_stand_for_is_refused_even_when_others_are_coerced():
    assert (
        refused(policy(unseen_category="coerce").judge, rows([[0, 0]], ["AA"], ["B7"])).code == "serve.unseen-category"
    )


def test_the_level_that_stands_for_a_missing_one_is_known():
    assert policy(unseen_category="reject").judge(rows([[0, 0]], ["?"]))[1] == ()


def test_a_missing_number_is_in_every_range():
    assert policy(out_of_range="reject").judge(rows([[0, math.nan]]))[1] == ()


@pytest.mark.parametrize(
    ("weather", "code"),
    [
        ([[0, math.nan]], ""),
        ([[math.nan, 0]], "serve.missing-value"),
        ([[math.inf, 0]], "serve.not-finite"),
        ([[0, -math.inf]], "serve.not-finite"),
    ],
)
def test_infinity_is_refused_and_nan_where_nothing_may_be_missing(weather, code):
    if code:
        assert refused(policy().require_finite, rows(weather)).code == code
    else:
        policy().require_finite(rows(weather))
    policy(not_finite="accept").require_finite(rows(weather))


def test_tensors_that_no_feature_describes_are_nobodys_business():
    bare = ValuePolicy("m", Signature((TensorSpec("x", "FP32", (-1, 1)),), ()))
    bare.require_finite({"x": np.array([[np.inf]], np.float32)})
    assert not bare.checks_values


@given(st.lists(st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)), min_size=1, max_size=8))
def test_what_was_coerced_is_in_range_and_what_was_in_range_is_unchanged(weather):
    given_rows = rows([list(pair) for pair in weather])
    changed, _ = policy(out_of_range="coerce").judge(given_rows)
    before, after = given_rows["weather"], changed["weather"]
    assert ((after[:, 0] >= -10) & (after[:, 0] <= 35) & (after[:, 1] >= 0)).all()
    inside = (before[:, 0] >= -10) & (before[:, 0] <= 35)
    assert (before[inside, 0] == after[inside, 0]).all()
    assert policy(out_of_range="reject").judge(changed)[1] == ()
