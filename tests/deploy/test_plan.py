from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.errors import BadInputError, ConflictError
from modelwright.core.version import Lineage, Version
from modelwright.deploy import plan


def _version(number, model="flight-delay"):
    return Version(model, str(number), f"{number:064x}", "2026-01-01T00:00:00Z", "ann", Lineage(), {})


@given(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True))
def test_the_weights_of_a_canary_route_add_up_to_one(weight):
    route = plan.canary(_version(1), _version(2), weight)
    assert sum(arm.weight for arm in route.arms) == pytest.approx(1.0)
    assert [(arm.version, arm.role) for arm in route.arms] == [("1", "champion"), ("2", "canary")]
    assert route.arms[1].weight == weight


@pytest.mark.parametrize("weight", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_a_weight_that_is_no_share_is_refused(weight):
    with pytest.raises(BadInputError) as caught:
        plan.canary(_version(1), _version(2), weight)
    assert caught.value.code == "deploy.bad-weight"


def test_all_at_once_gives_one_version_every_request():
    route = plan.all_at_once(_version(3))
    assert [(arm.version, arm.weight, arm.role) for arm in route.arms] == [("3", 1.0, "champion")]


def test_promotion_gives_the_canary_everything_and_rollback_the_champion_and_both_keep_the_shadows():
    route = plan.canary(_version(1), _version(2), 0.1, [_version(1)])
    promoted, back = plan.promote(route), plan.rollback(route)
    assert [(arm.version, arm.weight, arm.role) for arm in promoted.arms] == [("2", 1.0, "champion")]
    assert [(arm.version, arm.weight, arm.role) for arm in back.arms] == [("1", 1.0, "champion")]
    assert promoted.shadows == back.shadows == route.shadows


def test_a_shadow_may_be_the_champions_own_version_and_counts_once():
    route = plan.all_at_once(_version(1), [_version(1), _version(1), _version(2)])
    assert [(arm.version, arm.weight, arm.role) for arm in route.shadows] == [
        ("1", 0.0, "shadow"),
        ("2", 0.0, "shadow"),
    ]


def test_a_route_without_a_canary_cannot_be_promoted():
    with pytest.raises(ConflictError) as caught:
        plan.promote(plan.all_at_once(_version(1)))
    assert caught.value.code == "deploy.no-canary"


def test_rolling_back_a_settled_route_changes_nothing():
    route = plan.all_at_once(_version(1), [_version(2)])
    assert plan.rollback(route) == route


def test_a_canary_of_the_champions_own_version_is_refused():
    with pytest.raises(BadInputError) as caught:
        plan.canary(_version(1), _version(1), 0.1)
    assert caught.value.code == "deploy.same-version"


def test_versions_of_two_models_never_share_a_route():
    other = _version(2, "churn")
    for attempt in (lambda: plan.canary(_version(1), other, 0.1), lambda: plan.all_at_once(_version(1), [other])):
        with pytest.raises(BadInputError) as caught:
            attempt()
        assert caught.value.code == "deploy.other-model"
