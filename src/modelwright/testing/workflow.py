"""Stories without a database: a fake workflow, and the conformance class of the port."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from modelwright.core.errors import ConflictError, ModelwrightError, NotFoundError, RefusedError, from_json
from modelwright.ports.workflow import Json, Steps, Story, StoryState, Workflow
from modelwright.testing.errors import error_code

T = TypeVar("T")


@dataclass(slots=True)
class InlineSteps:
    """Steps over a plain dict: give the same ``finished`` again and finished steps are not run again.

    Args:
        key: identity of the run.
        finished: ``<index> <name>`` to ``{"value": ...}`` or ``{"error": ...}``; grows as steps finish.
        wait: called instead of sleeping.
    """

    key: str
    finished: dict[str, Json] = field(default_factory=dict)
    wait: Callable[[float], None] = time.sleep
    count: int = 0

    def do(self, name: str, work: Callable[[], T]) -> T:
        """Run once per dict; results go through JSON, as they would on their way to a database."""
        place = f"{self.count} {name}"
        self.count += 1
        if place not in self.finished:
            try:
                self.finished[place] = {"value": json.loads(json.dumps(work()))}
            except ModelwrightError as error:
                self.finished[place] = {"error": json.loads(json.dumps(error.to_json()))}
        outcome = self.finished[place]
        if "error" in outcome:
            raise from_json(outcome["error"])
        return cast("T", outcome["value"])

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.wait(seconds)


class InlineWorkflow:
    """Runs stories in this process, in a thread each, and forgets them with it.

    Args:
        platform: what stories are given.
        stories: name to story.
        wait: called instead of sleeping.
    """

    def __init__(
        self, platform: Any, stories: Mapping[str, Story], *, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self._platform, self._stories, self._wait = platform, dict(stories), wait
        self._states: dict[str, StoryState] = {}
        self._steps: dict[str, InlineSteps] = {}
        self._futures: dict[str, Future[Json]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(8)
        self.schedules: dict[str, tuple[str, str, Json]] = {}

    def run(self, story: str, arguments: Json, *, key: str) -> Json:
        """Run and wait; the same key waits for, or gives, the first run's result."""
        return self._begin(story, arguments, key).result()

    def start(self, story: str, arguments: Json, *, key: str) -> None:
        """Run in the background; the same key is not started twice."""
        self._begin(story, arguments, key)

    def _begin(self, story: str, arguments: Json, key: str) -> Future[Json]:
        if story not in self._stories:
            raise NotFoundError("workflow.unknown-story", f"There is no story {story!r}.")
        with self._lock:
            if key in self._futures:
                if self._states[key].story != story:
                    raise ConflictError("workflow.key-taken", f"Key {key!r} belongs to another story.")
                return self._futures[key]
            self._states[key] = StoryState(key, story, "pending", time.time())
            self._steps[key] = InlineSteps(key, wait=self._wait)
            self._futures[key] = self._pool.submit(self._tell, story, json.loads(json.dumps(arguments)), key)
            return self._futures[key]

    def _tell(self, story: str, arguments: Json, key: str) -> Json:
        try:
            result = cast(
                "Json", json.loads(json.dumps(self._stories[story](self._platform, self._steps[key], arguments)))
            )
        except ModelwrightError as error:
            self._states[key] = replace(self._states[key], status="failed", error=error.to_json())
            raise
        self._states[key] = replace(self._states[key], status="done", result=result)
        return result

    def state(self, key: str) -> StoryState | None:
        """How far it is."""
        if key not in self._states:
            return None
        names = tuple(place.split(" ", 1)[1] for place in self._steps[key].finished)
        return replace(self._states[key], steps=names)

    def states(self, *, limit: int = 50) -> Sequence[StoryState]:
        """Newest first."""
        found = [self.state(key) for key in reversed(self._states)]
        return [state for state in found if state is not None][:limit]

    def recover(self) -> int:
        """Nothing of another process is known here."""
        return 0

    def forget(self, story: str, *, keep: int) -> int:
        """Delete finished runs but the newest ``keep``."""
        with self._lock:
            runs = [state for state in reversed(self._states.values()) if state.story == story]
            old = [run.key for run in runs if run.status != "pending" and self._futures[run.key].done()][keep:]
            for key in old:
                del self._states[key], self._steps[key], self._futures[key]
        return len(old)

    def schedule(self, name: str, story: str, arguments: Json, *, cron: str) -> None:
        """Remember the schedule; a test runs it when it wants to."""
        self.schedules[name] = (story, cron, arguments)

    def unschedule(self, *, besides: Collection[str]) -> None:
        """Forget the others."""
        self.schedules = {name: schedule for name, schedule in self.schedules.items() if name in besides}

    def close(self) -> None:
        """Wait for the threads."""
        self._pool.shutdown()


def tally(platform: Any, steps: Steps, arguments: Json) -> Json:
    """The conformance class's story: counts its steps' runs in the dict that stands for a platform."""

    def count(name: str) -> list[int]:
        platform[name] = platform.get(name, 0) + 1
        return [platform[name]]

    first = steps.do("first", lambda: count("first"))
    if arguments.get("refuse"):
        steps.do("refuse", _refuse)
    steps.sleep(0.01)
    second = steps.do("second", lambda: count("second"))
    return {"first": first, "second": second, "given": arguments}


def _refuse() -> None:
    raise RefusedError("stage.refused", "It was refused.", why="A reason.", fix="A way out.", details={"figure": 0.5})


class WorkflowConformance:
    """Inherit, and give fixtures ``counts`` (an empty dict) and ``workflow``.

    The workflow's stories are ``tally`` and ``other``, both :func:`tally`; its platform is ``counts``.
    """

    def test_a_story_gives_its_result(self, workflow: Workflow, counts: dict[str, int]) -> None:
        """Arguments in, result out, through JSON."""
        result = workflow.run("tally", {"n": 1}, key="result")
        assert result == {"first": [1], "second": [1], "given": {"n": 1}}
        assert counts == {"first": 1, "second": 1}

    def test_the_same_key_has_one_effect(self, workflow: Workflow, counts: dict[str, int]) -> None:
        """A second run under a key gives the first result and runs nothing."""
        assert workflow.run("tally", {"n": 1}, key="once") == workflow.run("tally", {"n": 1}, key="once")
        assert counts == {"first": 1, "second": 1}

    def test_an_error_of_a_step_keeps_kind_code_and_words(self, workflow: Workflow) -> None:
        """Also on the second asking, when it comes from the store."""
        for _ in range(2):
            try:
                workflow.run("tally", {"refuse": True}, key="refused")
            except RefusedError as error:
                body = error.to_json()
                assert (body["code"], body["why"], body["fix"]) == ("stage.refused", "A reason.", "A way out.")
                assert body["details"] == {"figure": 0.5}
            else:
                raise AssertionError("the error was lost")
        state = workflow.state("refused")
        assert state is not None
        assert state.status == "failed"
        assert state.error is not None
        assert state.error["code"] == "stage.refused"

    def test_a_state_names_the_story_and_its_finished_steps(self, workflow: Workflow) -> None:
        """And is None for a key that was never used."""
        assert workflow.state("never") is None
        workflow.run("tally", {}, key="told")
        state = workflow.state("told")
        assert state is not None
        assert (state.story, state.status, state.steps) == ("tally", "done", ("first", "second"))
        assert "told" in [each.key for each in workflow.states()]

    def test_a_background_story_finishes(self, workflow: Workflow) -> None:
        """``start`` comes back at once; ``run`` under the same key waits for it."""
        workflow.start("tally", {"n": 2}, key="background")
        assert workflow.run("tally", {"n": 2}, key="background")["given"] == {"n": 2}

    def test_an_unknown_story_is_refused(self, workflow: Workflow) -> None:
        """With a not-found error."""
        assert error_code(workflow.run, "nonesuch", {}, key="nonesuch") == "workflow.unknown-story"

    def test_a_key_belongs_to_one_story(self, workflow: Workflow) -> None:
        """Another story under the same key is a conflict."""
        workflow.run("tally", {}, key="taken")
        assert error_code(workflow.run, "other", {}, key="taken") == "workflow.key-taken"

    def test_finished_runs_are_forgotten_but_the_newest(self, workflow: Workflow) -> None:
        """Other stories stay, and a forgotten key is unknown again."""
        workflow.run("other", {}, key="stays")
        for number in range(3):
            workflow.run("tally", {}, key=f"round-{number}")
        workflow.forget("tally", keep=1)
        assert [workflow.state(f"round-{number}") is None for number in range(3)] == [True, True, False]
        assert workflow.state("stays") is not None
        assert workflow.forget("tally", keep=1) == 0

    def test_nothing_to_recover_is_zero(self, workflow: Workflow) -> None:
        """Recovery leaves live stories alone."""
        assert workflow.recover() == 0
