import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from modelwright.adapters.workflows.dbos import DbosWorkflow
from modelwright.adapters.workflows.executors import Executors
from modelwright.core.errors import BadInputError, InternalError, UnavailableError
from modelwright.testing.workflow import WorkflowConformance, tally

CHILD = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from modelwright.adapters.workflows.dbos import DbosWorkflow

    home = Path(sys.argv[1])

    def note(word):
        with (home / "effects.txt").open("a") as stream:
            stream.write(word + "\\n")
        return word

    def hang(platform, steps, arguments):
        steps.do("before", lambda: note("before"))
        def middle():
            note("middle")
            if sys.argv[2] == "hang":
                time.sleep(60)
            return "middle"
        steps.do("middle", middle)
        steps.do("after", lambda: note("after"))
        return {"key": steps.key}

    url = f"sqlite:///{home / 'modelwright.db'}"
    workflow = DbosWorkflow(url, home=home, platform=None, stories={"hang": hang}, role="control")
    if sys.argv[2] == "hang":
        workflow.run("hang", {}, key="one")
    print(workflow.recover(), flush=True)
    print(workflow.run("hang", {}, key="one"), flush=True)
    print(workflow.state("one").steps, flush=True)
    workflow.close()
    """
)


@pytest.fixture(scope="module")
def shared():
    return {}


@pytest.fixture
def counts(shared):
    shared.clear()
    return shared


def opened(home: Path, counts) -> DbosWorkflow:
    url = database_url(home)
    return DbosWorkflow(url, home=home, platform=counts, stories={"tally": tally, "other": tally}, role="control")


def database_url(home: Path) -> str:
    return f"sqlite:///{home / 'modelwright.db'}"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def durable(home, shared):
    workflow = opened(home, shared)
    yield workflow
    workflow.close()


@pytest.fixture
def workflow(durable, counts):
    return durable


class TestDbosWorkflow(WorkflowConformance):
    def test_nothing_is_stored_as_pickle(self, workflow, home):
        workflow.run("tally", {"word": "plainly-readable"}, key="plain")
        with sqlite3.connect(home / "modelwright.db") as database:
            serializations = database.execute("select distinct serialization from workflow_status").fetchall()
            dump = "\n".join(database.iterdump())
        assert serializations == [("modelwright_json",)]
        assert "plainly-readable" in dump

    def test_a_story_whose_step_cannot_be_written_down_is_not_failed_and_goes_on(self, workflow, counts, monkeypatch):
        from dbos import DBOS

        run_step = DBOS.run_step

        def full(options, work):
            work()
            monkeypatch.setattr(DBOS, "run_step", run_step)
            raise OSError(28, "database or disk is full")

        monkeypatch.setattr(DBOS, "run_step", full)
        with pytest.raises(UnavailableError, match="written down"):
            workflow.run("tally", {}, key="unrecorded")
        assert workflow.state("unrecorded").status == "pending"
        workflow.recover()
        assert workflow.run("tally", {}, key="unrecorded")["second"] == [1]
        assert counts == {"first": 2, "second": 1}

    def test_a_story_waits_for_a_registry_that_cannot_be_used_now(self, workflow, monkeypatch):
        words = ["The registry's database cannot be used now.", ""]

        def crown(_platform, steps, _arguments):
            def move():
                if words[0]:
                    raise UnavailableError("store.unavailable", words.pop(0))
                return "moved"

            return {"first": steps.do("first", lambda: "done"), "second": steps.do("second", move)}

        monkeypatch.setitem(workflow._stories, "tally", crown)
        with pytest.raises(UnavailableError, match="cannot be used now"):
            workflow.run("tally", {}, key="locked")
        assert workflow.state("locked").steps == ("first",)
        workflow.recover()
        assert workflow.run("tally", {}, key="locked") == {"first": "done", "second": "moved"}

    def test_a_bad_cron_is_refused_with_an_example(self, workflow):
        with pytest.raises(BadInputError, match="0 3"):
            workflow.schedule("nightly", "tally", {}, cron="every night")

    def test_a_schedule_runs_the_story_under_its_name_and_time(self, workflow, counts):
        workflow.schedule("often", "tally", {"n": 3}, cron="0 0 1 1 *")
        workflow.schedule("often", "tally", {"n": 3}, cron="* * * * * *")
        deadline = time.monotonic() + 30
        while not counts and time.monotonic() < deadline:
            time.sleep(0.1)
        workflow.schedule("often", "tally", {"n": 3}, cron="0 0 1 1 *")
        assert [
            state.key for state in workflow.states() if state.key.startswith("often-20") and state.key.endswith("Z")
        ]

    def test_a_schedule_that_is_not_named_any_more_ends(self, workflow):
        from dbos import DBOS

        for name in ("old", "kept"):
            workflow.schedule(name, "tally", {}, cron="0 0 1 1 *")
        workflow.unschedule(besides=["kept"])
        assert [schedule["schedule_name"] for schedule in DBOS.list_schedules()] == ["kept"]

    def test_a_second_one_in_a_process_is_refused(self, workflow, tmp_path):
        with pytest.raises(InternalError, match="one per process"):
            opened(tmp_path, {})


def hung(tmp_path) -> list[str]:
    """The command that goes on after a process was killed in the middle of the step ``middle``."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    child = subprocess.Popen([sys.executable, str(script), str(tmp_path), "hang"])
    effects = tmp_path / "effects.txt"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (effects.exists() and "middle" in effects.read_text()):
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    return [sys.executable, str(script), str(tmp_path), "go"]


def test_a_killed_process_is_followed_by_one_that_resumes_at_the_unfinished_step(tmp_path):
    second = subprocess.run(hung(tmp_path), capture_output=True, text=True, timeout=60, check=True)
    assert second.stdout.splitlines() == ["1", "{'key': 'one'}", "('before', 'middle', 'after')"]
    assert (tmp_path / "effects.txt").read_text().split() == ["before", "middle", "middle", "after"]


def test_two_processes_that_recover_at_once_take_a_story_over_once(tmp_path):
    command = hung(tmp_path)
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].splitlines() for process in both]
    assert sorted(lines[0] for lines in outputs) == ["0", "1"]
    assert [lines[1:] for lines in outputs] == [["{'key': 'one'}", "('before', 'middle', 'after')"]] * 2
    assert (tmp_path / "effects.txt").read_text().split() == ["before", "middle", "middle", "after"]


REOPENED = textwrap.dedent(
    """
    import io, sys
    from pathlib import Path
    from modelwright.adapters.workflows.dbos import DbosWorkflow

    home = Path(sys.argv[1])
    url = f"sqlite:///{home / 'modelwright.db'}"
    for _ in range(2):
        with io.TextIOWrapper(io.BytesIO()) as sys.stderr:  # another one each time, as test runners have it
            DbosWorkflow(url, home=home, platform=None, stories={}, role="cli").close()
    """
)


def test_it_is_opened_again_in_a_process_whose_first_stderr_is_closed(tmp_path):
    subprocess.run([sys.executable, "-c", REOPENED, tmp_path], timeout=60, check=True)


def test_results_outlive_the_process_that_made_them(tmp_path):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    command = [sys.executable, str(script), str(tmp_path), "go"]
    outputs = [subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout for _ in range(2)]
    assert outputs[0] == outputs[1]
    assert (tmp_path / "effects.txt").read_text().split() == ["before", "middle", "after"]


def test_an_executor_is_gone_when_nobody_holds_its_lock(tmp_path):
    here, there = Executors(tmp_path), Executors(tmp_path)
    executor = here.join("control")
    assert not there.gone(executor)
    here.leave(executor)
    assert there.gone(executor)
    assert there.gone("never-heard-of")


def test_burying_leaves_the_living_alone(tmp_path):
    executors = Executors(tmp_path)
    alive, dead = executors.join("control"), executors.join("cli")
    executors.leave(dead)
    with executors.alone():
        executors.bury()
    assert {path.stem for path in tmp_path.glob("*.lock")} == {"recovery", alive}


LEAVING = textwrap.dedent(
    """
    import os, signal, sys, threading, time
    from pathlib import Path
    from modelwright.adapters.workflows.dbos import DbosWorkflow

    home, closed = Path(sys.argv[1]), threading.Event()

    def slow(platform, steps, arguments):
        def step():
            os.kill(os.getpid(), signal.SIGINT)
            closed.wait(3)
            return "done"
        return {"step": steps.do("step", step)}

    url = f"sqlite:///{home / 'modelwright.db'}"
    workflow = DbosWorkflow(url, home=home, platform=None, stories={"slow": slow}, role="cli")
    try:
        workflow.run("slow", {}, key="one")
    except KeyboardInterrupt:
        workflow.close()
        closed.set()
    """
)


STATE = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from modelwright.adapters.workflows.dbos import DbosWorkflow

    home = Path(sys.argv[1])
    url = f"sqlite:///{home / 'modelwright.db'}"
    workflow = DbosWorkflow(url, home=home, platform=None, stories={}, role="cli")
    print(workflow.state("one").status)
    workflow.close()
    """
)


def test_leaving_while_a_step_runs_is_no_error_and_the_story_stays_pending(tmp_path):
    def said(program):
        child = [sys.executable, "-c", program, str(tmp_path)]
        done = subprocess.run(child, capture_output=True, text=True, timeout=90, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert said(LEAVING) == ""
    assert said(STATE) == "pending\n"
