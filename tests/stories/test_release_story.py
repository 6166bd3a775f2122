from contextlib import contextmanager
from dataclasses import replace

import pytest

from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.errors import BadInputError, ConflictError, NotFoundError, RefusedError
from modelwright.lifecycle import STORIES
from modelwright.testing.target import InMemoryTarget
from modelwright.testing.workflow import InlineSteps


def test_a_first_release_takes_all_requests_at_once(mill):
    result = mill.release("weak", key="first")
    assert (result["outcome"], result["version"]) == ("promoted", "1"), result["why"]
    assert mill.champion() == "1"
    assert mill.arms() == [("1", "champion")]
    acts = mill.actions()
    wanted = [
        "pack.package",
        "check.passed",
        "register.add",
        "deploy.set-route",
        "register.move-alias",
        "deploy.promote",
    ]
    assert [action for action in acts if action in wanted] == wanted
    assert mill.platform.ledger.verify().verified


def test_a_better_candidate_is_promoted_on_canary_evidence(mill):
    mill.release("weak", key="first")
    result = mill.release("good", key="second")
    assert (result["outcome"], result["version"]) == ("promoted", "2")
    assert "canary" in result["why"]
    assert mill.champion() == "2"
    assert mill.arms() == [("2", "champion")]
    assert mill.platform.versions.alias("tiny", "challenger") == ""
    assert mill.actions().index("deploy.canary") < mill.actions().index("deploy.promote", 8)
    comparison = result["verdict"]["comparison"]
    assert comparison["champion_version"] == "1"
    assert mill.platform.versions.version("tiny", "2").lineage.parent_version == "1"


def test_a_worse_candidate_is_refused_by_a_gate_with_the_reason_in_the_ledger(mill):
    mill.release("good", key="first")
    result = mill.release("bad", key="second")
    assert (result["outcome"], result["version"]) == ("refused", None)
    assert mill.champion() == "1"
    assert len(mill.platform.versions.versions("tiny")) == 1
    entry = mill.entry("check.refused")
    assert entry.reason == result["why"]
    assert "not registered" in entry.reason


def test_a_candidate_trained_in_another_unit_is_refused(mill):
    mill.release("weak", key="first")
    training = mill.folder / "training.parquet"
    mill.write(mill.rows(300, seed=5).assign(b=lambda frame: frame.b * 25.4 + 900), training)
    result = mill.release("good", key="second", reference=str(training))
    assert (result["outcome"], result["version"]) == ("refused", None)
    assert "within-training" in result["why"]
    assert "b: 100%" in mill.entry("check.refused").reason


def test_a_canary_that_fails_is_rolled_back(mill):
    mill.release("weak", key="first")
    mill.failing = {"2"}
    result = mill.release("good", key="second")
    assert (result["outcome"], result["version"]) == ("rolled-back", "2")
    assert mill.champion() == "1"
    assert mill.arms() == [("1", "champion")]
    assert "failed" in mill.entry("deploy.rollback").reason
    assert mill.platform.versions.alias("tiny", "challenger") == ""


def test_a_canary_without_traffic_fails_safe_to_the_champion(mill):
    mill.release("weak", key="first")
    mill.wait = mill.clock.sleep
    result = mill.release("good", key="second")
    assert result["outcome"] == "rolled-back"
    assert "Not enough evidence" in result["why"]
    assert mill.champion() == "1"


def test_a_release_without_canary_is_promoted_at_once(mill):
    mill.release("weak", key="first")
    mill.wait = mill.clock.sleep
    assert mill.release("good", key="second", canary=False)["outcome"] == "promoted"
    assert mill.champion() == "2"


def test_the_same_key_twice_has_one_effect(mill):
    finished = {}
    first = mill.release("weak", key="once", finished=finished)
    count = len(mill.actions())
    assert mill.release("weak", key="once", finished=finished) == first
    assert len(mill.platform.versions.versions("tiny")) == 1
    assert len(mill.actions()) == count


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_release_cut_after_any_step_goes_on_to_the_same_end(mill, cut):
    mill.release("weak", key="first")
    finished, done = {}, []

    class Cut(BaseException):
        pass

    class Cutting(dict):
        def __setitem__(self, place, outcome):
            super().__setitem__(place, outcome)
            done.append(place)
            if len(done) == cut:
                raise Cut

    finished = Cutting()
    try:
        mill.release("good", key="second", finished=finished)
    except Cut:
        result = mill.release("good", key="second", finished=finished)
        assert (result["outcome"], result["version"]) == ("promoted", "2")
    assert len(mill.platform.versions.versions("tiny")) == 2
    assert mill.champion() == "2"
    assert mill.platform.ledger.verify().verified


def test_a_wrong_target_is_told_with_a_suggestion(mill):
    with pytest.raises(BadInputError, match="late"):
        mill.release("weak", key="first", target="lates")


def test_a_missing_model_file_is_told(mill):
    mill.release("weak", key="first")
    with pytest.raises(BadInputError, match="gone"):
        mill.tell(
            "release",
            key="gone",
            artifact=str(mill.folder / "gone.joblib"),
            name="tiny",
            data=str(mill.folder / "validation.parquet"),
            target="late",
            reference=None,
            canary=True,
        )


def test_a_model_that_another_registry_keeps_is_fetched_within_the_step(mill):
    fetched = []

    @contextmanager
    def local_model(name):
        fetched.append(name)
        copy = mill.folder / "copy.joblib"
        (mill.folder / name.removeprefix("elsewhere:/")).rename(copy)
        yield str(copy)
        copy.unlink()

    mill.platform = replace(mill.platform, local_model=local_model)
    result = mill.release("weak", key="first", artifact="elsewhere:/weak.joblib")
    assert (result["outcome"], result["version"]) == ("promoted", "1"), result["why"]
    assert fetched == ["elsewhere:/weak.joblib"]


def test_a_second_canary_of_a_model_waits_its_turn(mill):
    mill.release("weak", key="first")
    act = Act("ann", "", "other")
    mill.platform.versions.set_alias("tiny", "challenger", "1", act=act)
    result = mill.release("good", key="second")
    assert (result["outcome"], result["version"]) == ("refused", "2")
    assert mill.champion() == "1"
    assert mill.entry("deploy.refused").reason == result["why"]


def test_a_gateway_that_cannot_load_puts_the_old_route_back(mill):
    mill.release("weak", key="first")
    target = InMemoryTarget()
    target.refuses = "no memory"
    mill.platform = replace(mill.platform, target=target)
    result = mill.release("good", key="second", canary=False)
    assert result["outcome"] == "refused"
    assert "no memory" in result["why"]
    assert mill.arms() == [("1", "champion")]
    assert mill.champion() == "1"


def test_a_route_taken_back_before_a_crash_is_not_taken_for_success_after_it(mill):
    mill.release("weak", key="first")
    mill.release("good", key="second", canary=False)
    target = InMemoryTarget()
    target.refuses = "no memory"
    mill.platform = replace(mill.platform, target=target)
    for refusal in ("no memory", ""):  # the second run is the one after the crash: the gateways serve the undone route
        target.refuses = refusal
        with pytest.raises((RefusedError, ConflictError)):
            mill.tell("promote", key="cut", model="tiny", version="1")
    assert (mill.champion(), mill.arms()) == ("2", [("2", "champion")])


def test_promote_and_rollback_move_between_versions(mill):
    mill.release("weak", key="first")
    mill.release("good", key="second", canary=False)
    back = mill.tell("rollback", key="back", model="tiny", to=None)
    assert (back["outcome"], back["version"], back["from"]) == ("rolled-back", "1", "2")
    assert (mill.champion(), mill.arms()) == ("1", [("1", "champion")])
    with pytest.raises(NotFoundError, match="before"):
        mill.tell("rollback", key="further", model="tiny", to=None)
    forth = mill.tell("promote", key="forth", model="tiny", version="2")
    assert (forth["outcome"], forth["from"], mill.champion()) == ("promoted", "1", "2")
    assert mill.tell("promote", key="again", model="tiny", version="2")["outcome"] == "unchanged"
    assert mill.entry("deploy.rollback").reason == "a test"


def test_a_shadow_stays_across_promotions_until_it_is_unset(mill):
    mill.release("weak", key="first")
    mill.release("good", key="second", canary=False)
    assert mill.tell("shadow", key="set", model="tiny", version="1")["shadows"] == ["1"]
    mill.release("good", key="third", canary=False)
    assert [arm.version for arm in mill.platform.routes.route("tiny").shadows] == ["1"]
    assert mill.tell("shadow", key="unset", model="tiny", version=None)["shadows"] == []
    assert mill.platform.routes.route("tiny").shadows == ()


def test_the_policy_keeps_a_version_as_shadow(mill):
    mill.policy(keep_shadow="1")
    mill.release("weak", key="first")
    assert mill.platform.routes.route("tiny").shadows == ()
    mill.release("good", key="second")
    assert [arm.version for arm in mill.platform.routes.route("tiny").shadows] == ["1"]


def test_without_a_server_a_canary_would_starve_so_a_checked_version_is_promoted_at_once(mill):
    mill.release("weak", key="first")
    mill.platform.target.running = False
    result = mill.release("good", key="second")
    assert (result["outcome"], mill.champion()) == ("promoted", "2")
    assert "no server is running" in result["why"]
    assert "deploy.canary" not in mill.actions()


def test_a_shadow_sees_every_request_also_while_its_version_shares_them_with_a_canary(mill):
    mill.release("weak", key="first")
    mill.tell("shadow", key="shadow", model="tiny", version="1", reason="keep an eye on it")
    assert mill.platform.routes.route("tiny").shadows == ()
    mill.release("good", key="second")
    package = package_codec.load(mill.platform.versions.version("tiny", "1").digest, mill.platform.blobs.get)
    joined = mill.platform.log.joined("tiny", signature=package.signature)
    assert "canary" in set(joined["role"])
    seen = set(joined["prediction_id"][joined["version"] == "1"])
    assert seen == set(joined["prediction_id"])


def test_a_canary_that_somebody_overtakes_by_hand_ends_at_once(mill):
    mill.release("weak", key="first")
    mill.policy(canary_requests=10**6)
    waits = iter(range(3))

    def promote_by_hand(seconds: float) -> None:
        if next(waits, None) == 0:
            mill.tell("promote", key="by hand", model="tiny", version="2", reason="approved")
        mill.clock.sleep(seconds)

    steps = InlineSteps("second", {}, wait=promote_by_hand)
    arguments = mill.arguments("good") | {"actor": "ann", "reason": "a test"}
    result = STORIES["release"](mill.platform, steps, arguments)
    assert (result["outcome"], mill.champion()) == ("promoted", "2")
    assert "by somebody's decision" in result["why"]
    assert mill.arms() == [("2", "champion")]
    assert mill.platform.versions.alias("tiny", "challenger") == ""
