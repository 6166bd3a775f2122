from dataclasses import replace

import pytest

from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.errors import BadInputError, NotFoundError, RefusedError
from modelwright.core.version import AliasMove, Lineage
from modelwright.lifecycle import STORIES
from modelwright.lifecycle.keep import carry_out, schedule_renewals, windows_of
from modelwright.lifecycle.renew import route_of
from modelwright.lifecycle.rollback import champions
from modelwright.lifecycle.rollout import republish
from modelwright.ports.trainer import Recipe
from modelwright.testing.workflow import InlineSteps, InlineWorkflow


@pytest.fixture
def renewed(mill):
    """A mill whose model has a recipe and some recorded traffic."""
    (mill.folder / "recipe.py").touch()
    mill.policy(recipe=Recipe(mill.folder, "recipe.py:load", "recipe.py:train", "late"))
    mill.release("weak", key="first")
    mill.serve(40)
    return mill


def test_a_renewal_trains_on_recorded_rows_and_is_promoted(renewed):
    result = renewed.tell("renew", key="order-1", model="tiny", cause="manual", since=None, until=None)
    assert (result["outcome"], result["version"], result["rows"]) == ("promoted", "2", 40)
    assert renewed.champion() == "2"
    assert renewed.platform.versions.version("tiny", "2").lineage.order == "order-1"
    assert [order.key for order in renewed.platform.findings.orders("tiny")] == ["order-1"]
    acts = renewed.actions()
    assert acts.index("retrain.order") < acts.index("retrain.train") < acts.index("deploy.canary")
    assert not list((renewed.folder / "work").iterdir())


def test_shadow_rows_are_not_trained_on(renewed):
    renewed.release("good", key="second", canary=False)
    renewed.tell("shadow", key="shadow", model="tiny", version="1")
    before = renewed.asked
    renewed.serve(10)
    result = renewed.tell("renew", key="order-1", model="tiny", cause="manual", since=None, until=None)
    assert result["rows"] == before + 10


def test_a_window_bounds_the_rows(renewed):
    renewed.clock.advance(100)
    renewed.serve(7)
    now = renewed.clock.now()
    arguments = {"model": "tiny", "cause": "manual", "since": now - 50, "until": None}
    renewed.clock.advance(1)
    assert renewed.tell("renew", key="order-1", **arguments)["rows"] == 7


def test_a_failing_recipe_leaves_the_champion_and_a_reason(renewed):
    class Failing:
        def train(self, recipe, *, recorded, work):
            raise RefusedError("retrain.recipe-failed", "The recipe ended with exit code 1.", why="no such table")

    renewed.platform = replace(renewed.platform, trainer=Failing())
    with pytest.raises(RefusedError, match="no such table"):
        renewed.tell("renew", key="order-1", model="tiny", cause="manual")
    assert renewed.champion() == "1"
    assert renewed.entry("retrain.failed").evidence["error"]["why"] == "no such table"


def test_a_model_without_recipe_cannot_be_renewed(mill):
    mill.release("weak", key="first")
    with pytest.raises(BadInputError, match="recipe"):
        mill.tell("renew", key="order-1", model="tiny", cause="manual")


def shift(mill, count=200):
    """Traffic whose first feature has moved."""
    frame = mill.rows(count, seed=99).assign(a=lambda frame: frame.a + 5.0)
    for index in range(count):
        mill.record(mill.platform.routes.route("tiny").arms[0], f"shifted-{index}", frame.iloc[[index]])
    mill.sink.flush()


def test_watching_calm_traffic_orders_nothing(renewed):
    renewed.policy(on_findings=("drift", "unit-change", "out-of-range"))
    watched = renewed.tell("watch", key="calm", model="tiny", since=None, until=None)
    assert (watched["order"], watched["undelivered"]) == (None, [])
    assert watched["report"]["rows"] == 40
    assert renewed.platform.channels[0].sent == []


def test_watching_moved_traffic_reports_alerts_and_orders(renewed):
    renewed.policy(on_findings=("drift", "unit-change", "out-of-range"))
    shift(renewed)
    watched = renewed.tell("watch", key="moved", model="tiny", since=None, until=None)
    assert {finding["subject"] for finding in watched["report"]["findings"]} >= {"a"}
    assert watched["order"]["cause"] == "finding"
    assert [order.key for order in renewed.platform.findings.orders("tiny")] == [watched["order"]["key"]]
    assert renewed.platform.channels[0].sent[0].model == "tiny"
    assert renewed.platform.findings.reports("tiny")[0].findings


def test_a_channel_that_is_down_is_a_ledger_entry_and_no_failure(renewed):
    renewed.platform.channels[0].down = True
    shift(renewed)
    watched = renewed.tell("watch", key="moved", model="tiny", since=None, until=None)
    assert watched["undelivered"] == ["memory"]
    assert renewed.entry("watch.undelivered").evidence["undelivered"]["memory"]["code"] == "channel.undelivered"


def test_a_model_that_is_not_deployed_cannot_be_watched(renewed):
    renewed.platform.versions.set_alias("tiny", "champion", "", act=Act("ann", "", "gone"))
    with pytest.raises(NotFoundError, match="no champion"):
        renewed.tell("watch", key="watch", model="tiny", since=None, until=None)


def test_keeping_watches_from_where_the_last_report_ended(renewed):
    renewed.serve(200)
    renewed.clock.advance(60)
    assert renewed.tell("keep", key="keep-1")["models"]["tiny"]["rows"] == 240
    renewed.serve(5)
    renewed.clock.advance(60)
    assert renewed.tell("keep", key="keep-2")["models"]["tiny"]["rows"] == 5


def test_keeping_leaves_a_window_open_until_it_has_enough_rows(renewed):
    renewed.clock.advance(60)
    assert renewed.tell("keep", key="keep-1")["models"]["tiny"]["rows"] == 40
    assert renewed.platform.findings.reports("tiny") == []
    renewed.serve(200)
    renewed.clock.advance(60)
    assert renewed.tell("keep", key="keep-2")["models"]["tiny"]["rows"] == 240
    assert len(renewed.platform.findings.reports("tiny")) == 1


def test_a_round_taken_over_after_a_crash_counts_no_row_that_another_round_counted(renewed):
    renewed.serve(200)
    renewed.clock.advance(60)
    crashed = {"0 models": {"value": windows_of(renewed.platform)}}
    assert renewed.tell("keep", key="keep-2")["models"]["tiny"]["rows"] == 240
    renewed.tell("keep", key="keep-1", finished=crashed)
    (report,) = renewed.platform.findings.reports("tiny")
    assert report.rows == 240


def test_keeping_leaves_what_is_a_moment_old_to_the_next_round_so_that_a_slow_request_is_counted(renewed):
    renewed.serve(200)
    renewed.clock.advance(60)
    slow = renewed.clock.now()
    renewed.clock.advance(1)
    renewed.serve(300)
    assert renewed.tell("keep", key="keep-1")["models"]["tiny"]["rows"] == 240
    (report,) = renewed.platform.findings.reports("tiny")
    assert report.window.until < slow
    renewed.clock.advance(60)
    assert renewed.tell("keep", key="keep-2")["models"]["tiny"]["rows"] == 300


def test_an_order_is_carried_out_once_under_its_own_key(renewed):
    renewed.policy(on_findings=("drift", "unit-change", "out-of-range"), canary_timeout=0.0)
    shift(renewed)
    renewed.clock.advance(60)
    orders = renewed.tell("keep", key="keep-1")["orders"]
    workflow = InlineWorkflow(renewed.platform, STORIES, wait=renewed.wait)
    assert carry_out(renewed.platform, workflow) == [orders[0]["key"]]
    assert workflow.run("renew", {"model": "tiny"}, key=orders[0]["key"])["outcome"] == "promoted"
    assert carry_out(renewed.platform, workflow) == []
    workflow.close()


def test_schedules_of_the_policies_are_put_in_force(renewed):
    renewed.policy(schedule="0 3 * * *")
    workflow = InlineWorkflow(renewed.platform, STORIES)
    assert schedule_renewals(renewed.platform, workflow) == ["tiny"]
    story, cron, arguments = workflow.schedules["renew-tiny"]
    assert (story, cron, arguments["cause"]) == ("renew", "0 3 * * *", "schedule")
    workflow.close()


def test_republishing_gives_the_gateways_the_registrys_table(renewed):
    published = renewed.platform.target.published
    before = published[-1]
    assert republish(renewed.platform) == renewed.platform.routes.table().epoch
    assert published[-1] == before


@pytest.mark.parametrize(
    ("moves", "standing"),
    [
        ([], []),
        (["1"], ["1"]),
        (["1", "2", "3"], ["1", "2", "3"]),
        (["1", "2", "1"], ["1"]),
        (["1", "2", "3", "2"], ["1", "2"]),
        (["1", "2", "3", "1"], ["1", "2", "3", "1"]),
        (["1", "", "1", "2"], ["1", "2"]),
    ],
)
def test_champions_are_read_from_the_alias_history(moves, standing):
    history = [AliasMove("tiny", "champion", "", to, "", "", "") for to in moves]
    assert champions(history) == standing


def test_a_window_that_ends_before_it_begins_is_refused(renewed):
    with pytest.raises(BadInputError) as caught:
        renewed.tell("watch", key="reversed", model="tiny", since=2.0, until=1.0)
    assert caught.value.code == "watch.bad-window"


def test_a_window_without_ends_is_reported_as_the_time_of_the_rows_it_held(renewed):
    told = renewed.tell("watch", key="all of it", model="tiny")
    package = package_codec.load(renewed.platform.versions.version("tiny", "1").digest, renewed.platform.blobs.get)
    times = renewed.platform.log.joined("tiny", signature=package.signature, roles=("champion", "canary"))["event_time"]
    window = told["report"]["window"]
    assert window["since"] == times.min()
    assert times.max() < window["until"] < times.max() + 1


def test_a_look_into_the_future_does_not_blind_the_keeper(renewed):
    renewed.tell("watch", key="by hand", model="tiny", since=0.0, until=renewed.clock.now() + 1e6)
    renewed.wait(1.0)
    window = windows_of(renewed.platform)["tiny"]
    assert window["since"] < renewed.clock.now()
    assert window["until"] is None


@pytest.fixture
def asked(renewed, monkeypatch):
    """What the framework was asked for, one (route, isolation) for each conversion."""
    seen = []
    (framework,) = renewed.platform.frameworks
    convert = framework.convert

    def noting(model, examples, **how):
        seen.append((how["route"], how["isolation"]))
        return convert(model, examples, **how)

    monkeypatch.setattr(framework, "convert", noting)
    return seen


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("onnx", "strict")),
        ({"route": "auto", "isolation": None}, ("auto", "strict")),
        ({"route": "native", "isolation": "standard"}, ("native", "standard")),
    ],
)
def test_a_renewal_runs_as_the_champion_does_unless_somebody_says_otherwise(renewed, asked, given, expected):
    renewed.tell("renew", key="order-1", model="tiny", cause="manual", since=None, until=None, **given)
    assert asked == [expected]


def test_the_renewal_of_a_model_that_runs_as_code_keeps_its_jail_and_its_promise_not_to_run_twice(mill, code_package):
    package = code_package("def predict(inputs): return inputs", "tiny", isolation="standard", idempotent=False)
    digest = package_codec.store(package, mill.platform.blobs.put)
    version = mill.platform.versions.register("tiny", digest, lineage=Lineage(), verdict={}, act=Act("ann"))
    mill.platform.versions.set_alias("tiny", "champion", version.number, act=Act("ann"))
    assert route_of(mill.platform, {"model": "tiny"}) == {
        "route": "native",
        "isolation": "standard",
        "idempotent": False,
    }


class Overtaken(InlineSteps):
    """Steps before one of which, of the name given, something else happens."""

    def before(self, name, work):
        self.name, self.work = name, work
        return self

    def do(self, name, work):
        if name == self.name:
            self.name = ""
            self.work()
        return super().do(name, work)


@pytest.mark.parametrize("place", ["export", "train", "pack", "check", "register", "route to version"])
def test_of_two_renewals_at_once_one_becomes_champion_and_the_other_says_why_not(renewed, place):
    renewed.policy(canary_timeout=0.0)
    second = {}

    def other():
        second.update(renewed.tell("renew", key="order-2", model="tiny", cause="manual", since=None, until=None))

    steps = Overtaken("order-1", {}, wait=renewed.wait).before(place, other)
    asked = {"model": "tiny", "cause": "manual", "since": None, "until": None, "actor": "ann", "reason": "a test"}
    first = STORIES["renew"](renewed.platform, steps, asked)
    assert second["outcome"] == "promoted"
    winner = first if first["outcome"] == "promoted" else second
    assert renewed.champion() == winner["version"]
    assert [arm.version for arm in renewed.platform.routes.route("tiny").arms] == [winner["version"]]
    if place in {"register", "route to version"}:  # it was compared with a champion that is none any more
        assert first["outcome"] == "refused"
        assert renewed.entry("deploy.refused").evidence["error"]["code"] == "register.alias-moved"
    assert not list((renewed.folder / "work").iterdir())
