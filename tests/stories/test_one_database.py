import subprocess
import sys
import threading

import pytest

from modelwright.adapters.stores.database import open_database
from modelwright.adapters.workflows.dbos import DbosWorkflow
from modelwright.core.access import Act


def note(database, steps, arguments):
    """Writes to the registry's ledger in each of its steps."""
    for index in range(5):
        act = Act("ann", "", f"{steps.key}/{index}")
        steps.do(f"note {index}", lambda act=act: database.ledger.append("test.note", "tiny", act=act).sequence)
    return {}


def hold(held, steps, arguments):
    """Waits in its second step for a word from outside."""
    steps.do("before", lambda: held["runs"].append("before"))

    def middle():
        held["runs"].append("middle")
        held["inside"].set()
        held["go"].wait(20)

    steps.do("middle", middle)
    steps.do("after", lambda: held["runs"].append("after"))
    return {}


def test_stories_and_registry_write_to_one_database_at_the_same_time(tmp_path):
    url = f"sqlite:///{tmp_path / 'modelwright.db'}"
    with open_database(url, keys=tmp_path / "keys") as database:
        workflow = DbosWorkflow(url, home=tmp_path, platform=database, stories={"note": note}, role="control")
        try:
            for number in range(8):
                workflow.start("note", {}, key=f"story-{number}")
            for number in range(50):
                database.ledger.append("test.note", "tiny", act=Act("bob", "", f"beside-{number}"))
            for number in range(8):
                assert workflow.run("note", {}, key=f"story-{number}") == {}
        finally:
            workflow.close()
        verdict = database.ledger.verify()
        assert (verdict.verified, verdict.entries) == (True, 8 * 5 + 50)


def test_a_story_interrupted_by_closing_goes_on_where_it_was(tmp_path):
    url = f"sqlite:///{tmp_path / 'modelwright.db'}"
    held = {"runs": [], "inside": threading.Event(), "go": threading.Event()}

    def opened():
        return DbosWorkflow(url, home=tmp_path, platform=held, stories={"hold": hold}, role="control")

    first = opened()
    first.start("hold", {}, key="one")
    assert held["inside"].wait(20)
    first.close()
    held["go"].set()
    second = opened()
    try:
        assert second.run("hold", {}, key="one") == {}
        assert second.state("one").steps == ("before", "middle", "after")
    finally:
        second.close()
    assert held["runs"] == ["before", "middle", "middle", "after"]


@pytest.mark.parametrize("name", ["modelwright.db", "modelwright.db-wal"])
def test_the_database_is_private_to_its_owner(tmp_path, name):
    url = f"sqlite:///{tmp_path / 'modelwright.db'}"
    workflow = DbosWorkflow(url, home=tmp_path, platform=None, stories={"note": note}, role="cli")
    try:
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    finally:
        workflow.close()


def test_a_command_that_ends_leaves_the_servers_database_alone(tmp_path):
    """Closing any descriptor of the file would drop the server's locks, and the command would remove its log."""
    url = f"sqlite:///{tmp_path / 'modelwright.db'}"
    command = (
        "import sys; from pathlib import Path; from modelwright.adapters.stores.database import open_database\n"
        f"open_database({url!r}, keys=Path({str(tmp_path / 'keys')!r})).close()"
    )
    with open_database(url, keys=tmp_path / "keys") as database:
        workflow = DbosWorkflow(url, home=tmp_path, platform=database, stories={"note": note}, role="control")
        try:
            workflow.run("note", {}, key="before")
            subprocess.run([sys.executable, "-c", command], check=True)
            assert (tmp_path / "modelwright.db-wal").exists()
            assert workflow.run("note", {}, key="after") == {}
        finally:
            workflow.close()
        assert database.ledger.verify().verified
