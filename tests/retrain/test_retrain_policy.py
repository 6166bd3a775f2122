from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.finding import Finding, WatchReport, Window
from modelwright.ports.platform import ModelPolicy
from modelwright.retrain.policy import due

POLICY = ModelPolicy(on_findings=("drift", "performance"), cooldown_seconds=100.0)
WINDOW = Window(1000.0, 2000.5)


def _finding(kind="drift", severity="warning", rank=1, says="temp drifts."):
    return Finding(kind, "temp", severity, says, 0.3, rank=rank)


def _report(*findings, window=WINDOW, model="flight-delay"):
    return WatchReport(model, "1", window, 500, 400, findings, ())


def test_a_grave_finding_of_a_listed_kind_orders_a_renewal_with_its_words():
    order = due(_report(_finding()), POLICY, None, now=5000.0)
    assert order is not None
    assert (order.model, order.cause, order.reason) == ("flight-delay", "finding", "temp drifts.")
    assert order.at == "1970-01-01T01:23:20+00:00"


def test_the_finding_of_highest_impact_is_the_reason_and_the_others_are_counted():
    order = due(_report(_finding(rank=2), _finding("performance", "critical", 1, "AUC fell.")), POLICY, None, 5000.0)
    assert order is not None
    assert order.reason == "AUC fell. (and 1 more)"


def test_no_finding_an_unlisted_kind_and_mere_information_order_nothing():
    for report in (_report(), _report(_finding("nulls-up")), _report(_finding(severity="info"))):
        assert due(report, POLICY, None, 5000.0) is None


def test_a_policy_that_lists_nothing_never_orders():
    assert due(_report(_finding(severity="critical")), ModelPolicy(), None, 5000.0) is None


@given(st.floats(0.0, 300.0))
def test_nothing_is_ordered_before_the_cool_down_is_over(passed):
    order = due(_report(_finding()), POLICY, 4000.0, 4000.0 + passed)
    assert (order is None) == (passed < 100.0)


@given(st.floats(0.0, 300.0))
def test_an_order_from_the_future_of_a_wrong_clock_holds_nothing_up_for_longer(ahead):
    order = due(_report(_finding()), POLICY, 4000.0 + ahead, 4000.0)
    assert (order is None) == (ahead < 100.0)


def test_the_same_window_gives_the_same_key_whenever_and_however_it_is_found():
    first = due(_report(_finding()), POLICY, None, 5000.0)
    again = due(_report(_finding("performance", "critical")), POLICY, None, 9000.0)
    assert first is not None
    assert again is not None
    assert first.key == again.key == "renew-flight-delay-finding-1000-2000.5"


def test_another_window_or_another_model_gives_another_key():
    reports = [
        _report(_finding()),
        _report(_finding(), window=Window(1000.0, 3000.0)),
        _report(_finding(), model="churn"),
        _report(_finding(), window=None),
    ]
    keys = {order.key for report in reports if (order := due(report, POLICY, None, 5000.0))}
    assert len(keys) == 4
