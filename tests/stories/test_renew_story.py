from dataclasses import replace

import pytest

from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.errors import BadInputError, NotFoundError, RefusedError
from modelwright.core.version import AliasMove
from modelwright.lifecycle import STORIES
from modelwright.lifecycle.keep import carry_out, schedule_renewals, windows_of
from modelwright.lifecycle.rollback import champions
from modelwright.lifecycle.rollout import republish
from modelwright.ports.trainer import Recipe
from modelwright.testing.workflow import InlineWorkflow


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
