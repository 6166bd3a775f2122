"""Stories that meet each other, damaged packages, changed project files, and gateways that do not answer."""

from dataclasses import replace

import pytest

from modelwright.core.access import Act
from modelwright.core.errors import BadInputError, ConflictError, RefusedError, UnavailableError
from modelwright.lifecycle import STORIES
from modelwright.lifecycle.keep import schedule_renewals
from modelwright.lifecycle.rollout import settled_route
from modelwright.ports.trainer import Recipe
from modelwright.testing.target import InMemoryTarget
from modelwright.testing.workflow import InlineSteps, InlineWorkflow

UNTRAINED = ("find recipe", "order", "export")  # steps of a renewal before its training


class Meeting(InlineSteps):
    """Something else happens just before a named step."""

    def __init__(self, before, happens):
        super().__init__("meeting", {}, wait=lambda _seconds: None)
        self.before, self.happens = before, happens

    def do(self, name, work):
        if name == self.before:
            self.before = ""
            self.happens()
        return super().do(name, work)


class Routes:
    """The mill's routes; something else happens just after a route was read."""

    def __init__(self, routes):
        self.real, self.after_read = routes, None

    def __getattr__(self, name):
        return getattr(self.real, name)

    def route(self, model):
        found = self.real.route(model)
        if self.after_read:
            happens, self.after_read = self.after_read, None
            happens()
        return found


@pytest.fixture
def two(mill):
    """A mill with versions 1 and 2, of which 2 is the champion."""
    mill.release("weak", key="first")
    mill.release("good", key="second", canary=False)
    return mill


def agree(mill):
    return mill.arms() == [(mill.champion(), "champion")]


def test_a_route_put_back_while_another_version_becomes_champion_does_not_outlive_it(two):
    def undone_by_another_story():
        two.platform.routes.set_route(settled_route(two.platform, "tiny"), act=Act("bob", "", "other/undo"))

    steps = Meeting("move champion", undone_by_another_story)
    STORIES["promote"](two.platform, steps, {"model": "tiny", "version": "1", "actor": "ann"})
    assert two.champion() == "1"
    assert agree(two)


def test_a_canary_that_starts_while_another_version_becomes_champion_leaves_no_route_behind(two):
    def crowned_by_another_story():
        two.tell("promote", key="other", model="tiny", version="1")

    steps = Meeting("start canary", crowned_by_another_story)
    arguments = two.arguments("good") | {"actor": "ann", "reason": "a test"}
    result = STORIES["release"](two.platform, steps, arguments)
    assert result["outcome"] == "rolled-back"
    assert two.champion() == "1"
    assert agree(two)


def test_a_shadow_set_while_a_canary_ends_does_not_bring_its_route_back(two):
    two.policy(canary_requests=10**6)
    routes = Routes(two.platform.routes)
    two.platform = replace(two.platform, routes=routes)
    waits = iter(range(3))

    def overtaken():
        two.tell("promote", key="by hand", model="tiny", version="1")

    def shadowed(seconds):
        if next(waits, None) == 0:
            routes.after_read = overtaken
            two.tell("shadow", key="shadow", model="tiny", version="2")
        two.clock.sleep(seconds)

    arguments = two.arguments("good") | {"actor": "ann", "reason": "a test"}
    STORIES["release"](two.platform, InlineSteps("third", {}, wait=shadowed), arguments)
    assert two.champion() == "1"
    assert agree(two)
    assert [arm.version for arm in two.platform.routes.route("tiny").shadows] == ["2"]


def test_a_shadow_that_no_gateway_can_load_is_taken_away_again(two):
    target = InMemoryTarget()
    target.refuses = "golden answers differ"
    standing = two.platform.routes.route("tiny")
    two.platform = replace(two.platform, target=target)
    with pytest.raises(RefusedError, match="could not load"):
        two.tell("shadow", key="shadow", model="tiny", version="1")
    assert two.platform.versions.alias("tiny", "shadow") == ""
    assert two.platform.routes.route("tiny") == standing


def test_the_later_of_two_shadows_stays(two):
    def shadowed_by_another_story():
        two.tell("shadow", key="other", model="tiny", version="2")

    steps = Meeting("route", shadowed_by_another_story)
    with pytest.raises(ConflictError, match="Another shadow"):
        STORIES["shadow"](two.platform, steps, {"model": "tiny", "version": "1", "actor": "ann"})
    assert two.platform.versions.alias("tiny", "shadow") == "2"


def test_a_shadow_that_cannot_be_loaded_leaves_the_canary_its_requests(mill):
    mill.release("weak", key="first")
    waits = iter(range(3))

    def shadowed(seconds):
        mill.serve(20)
        mill.clock.sleep(seconds)
        if next(waits, None) == 0:
            good, bad = mill.platform, replace(mill.platform, target=InMemoryTarget())
            bad.target.refuses = "no memory"
            mill.platform = bad
            with pytest.raises(RefusedError):
                mill.tell("shadow", key="shadow", model="tiny", version="1")
            mill.platform = good

    arguments = mill.arguments("good") | {"actor": "ann", "reason": "a test"}
    result = STORIES["release"](mill.platform, InlineSteps("second", {}, wait=shadowed), arguments)
    assert result["outcome"] == "promoted", result["why"]
    assert agree(mill)


@pytest.mark.parametrize("story", ["promote", "rollback", "shadow"])
def test_a_version_whose_package_is_gone_is_refused_also_when_no_server_runs(two, story):
    two.platform.blobs.delete(two.platform.versions.version("tiny", "1").digest)
    two.platform.target.running = False
    before = (two.champion(), two.platform.routes.route("tiny"))
    with pytest.raises(RefusedError, match="damaged"):
        two.tell(story, key=story, model="tiny", version="1", to="1")
    assert (two.champion(), two.platform.routes.route("tiny")) == before
    assert two.platform.versions.alias("tiny", "shadow") == ""


def test_a_canary_taken_back_while_no_gateway_answers_makes_room_for_the_next(mill):
    mill.release("weak", key="first")
    target = InMemoryTarget()
    mill.platform = replace(mill.platform, target=target)
    mill.failing = {"2"}
    mill.serve(1)

    def wait(seconds):
        target.asleep = True
        mill.serve(20)
        mill.clock.sleep(seconds)

    arguments = mill.arguments("good") | {"actor": "ann", "reason": "a test"}
    result = STORIES["release"](mill.platform, InlineSteps("second", {}, wait=wait), arguments)
    assert result["outcome"] == "rolled-back"
    assert mill.platform.versions.alias("tiny", "challenger") == ""
    assert agree(mill)
    assert mill.entry("deploy.rollback").evidence["in_force"] is False


def test_a_canary_whose_evidence_cannot_be_read_makes_room_for_the_next(mill):
    mill.release("weak", key="first")

    class Broken:
        def arms(self, model, *, since):
            raise UnavailableError("record.unavailable", "The log cannot be read now.")

    steps = InlineSteps("second", {}, wait=mill.wait)
    arguments = mill.arguments("good") | {"actor": "ann", "reason": "a test"}
    result = STORIES["release"](replace(mill.platform, log=Broken()), steps, arguments)
    assert result["outcome"] == "refused"
    assert mill.platform.versions.alias("tiny", "challenger") == ""
    assert agree(mill)


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_renewal_goes_on_after_a_crash_though_its_recipe_left_the_project_file(mill, cut):
    (mill.folder / "recipe.py").touch()
    mill.policy(recipe=Recipe(mill.folder, "recipe.py:load", "recipe.py:train", "late"))
    mill.release("weak", key="first")
    mill.serve(40)

    class CutError(BaseException):
        pass

    class Cutting(dict):
        def __setitem__(self, place, outcome):
            super().__setitem__(place, outcome)
            if len(self) == cut:
                raise CutError

    finished, order = Cutting(), {"model": "tiny", "cause": "manual", "since": None, "until": None}
    try:
        mill.tell("renew", key="order-1", finished=finished, **order)
    except CutError:
        mill.policy(recipe=None)
        if cut <= len(UNTRAINED):
            with pytest.raises(BadInputError, match="no recipe"):
                mill.tell("renew", key="order-1", finished=finished, **order)
        else:
            mill.tell("renew", key="order-1", finished=finished, **order)
            assert mill.champion() == "2"
    assert mill.platform.versions.alias("tiny", "challenger") == ""
    assert agree(mill)
    assert mill.platform.ledger.verify().verified


def test_a_schedule_that_left_the_project_file_fires_no_more(two):
    workflow = InlineWorkflow(two.platform, STORIES)
    two.policy(schedule="0 3 * * *")
    schedule_renewals(two.platform, workflow)
    two.policy(schedule="")
    assert schedule_renewals(two.platform, workflow) == []
    assert workflow.schedules == {}
    workflow.close()
