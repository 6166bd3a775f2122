"""Durable stories on DBOS Transact, in the registry's own database.

One generic DBOS workflow runs every story, so a new story needs no registration and no migration. Arguments, step
results and errors are stored as JSON; nothing is pickled. DBOS keeps its state in module globals: there can be one
:class:`DbosWorkflow` in a process at a time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from modelwright.adapters.workflows import sqlite_clock
from modelwright.adapters.workflows.executors import Executors
from modelwright.core.errors import (
    BadInputError,
    ConflictError,
    InternalError,
    ModelwrightError,
    NotFoundError,
    UnavailableError,
    from_json,
)
from modelwright.ports.workflow import Json, Story, StoryState

if TYPE_CHECKING:
    from dbos import WorkflowHandle, WorkflowStatus
    from sqlalchemy import Engine

T = TypeVar("T")
VERSION = "stories-1"  # stored with every story; a release that changes the steps of a story raises it
QUEUE = "stories"
POLL_SECONDS = 0.05
FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
DELETED_AT_ONCE = 200  # keys in one statement: SQLite takes a limited number of parameters
PENDING = ("PENDING", "ENQUEUED", "DELAYED")

logger = logging.getLogger(__name__)


class StoppedError(BaseException):
    """Unwinds a story when this process stops. Not an Exception: DBOS then records nothing, and it stays pending."""


class UnrecordedError(StoppedError):
    """Unwinds a story whose step could not be written down (a full disk): it stays pending, and is not failed.

    Its arguments are the reason and the story's key; :meth:`DbosWorkflow.recover` goes on with it.
    """


class DbosWorkflow:
    """Implements :class:`~modelwright.ports.workflow.Workflow`.

    Calls block and use the database: from a coroutine, call in a thread. A step under way is not interrupted by
    :meth:`close`; a process that must go at once ends itself, and its stories are taken over later.

    Args:
        database: SQLAlchemy URL or engine of the registry's database (SQLite file or PostgreSQL).
        home: data directory; liveness locks are kept in ``home/run/executors``.
        platform: what stories are given.
        stories: name to story.
        role: ``control`` runs schedules; any other name runs only what it is asked for, and what is recovered.

    Raises:
        InternalError: ``workflow.second`` when this process has one already.
    """

    _open: ClassVar[DbosWorkflow | None] = None

    def __init__(
        self, database: str | Engine, *, home: Path, platform: Any, stories: Mapping[str, Story], role: str
    ) -> None:
        # Half a second of imports, and threads: only for a process that runs stories.
        from dbos import DBOS, DBOSConfig

        from modelwright.adapters.workflows.dbos_json import JsonSerializer

        if DbosWorkflow._open is not None:
            raise InternalError("workflow.second", "This process runs stories already; DBOS allows one per process.")
        url = database if isinstance(database, str) else database.url.render_as_string(hide_password=False)
        _prepare(url)
        _keep_from_stderr()
        sqlite_clock.provide()
        self._platform, self._stories, self._role = platform, dict(stories), role
        self._closing = threading.Event()
        self._unrecorded: set[str] = set()
        self._executors = Executors(home / "run" / "executors")
        self._executor = self._executors.join(role)
        config: DBOSConfig = {
            "name": "modelwright",
            "system_database_url": url,
            "application_version": VERSION,
            "executor_id": self._executor,
            "run_admin_server": False,
            "enable_otlp": False,
            "log_level": "CRITICAL",
            "serializer": JsonSerializer(),
            "notification_listener_polling_interval_sec": 1.0,
        }  # type: ignore[typeddict-unknown-key]  # run_admin_server is read by DBOS, and missing in its type
        DbosWorkflow._open = self
        try:
            DBOS(config=config)
            self._register()
            if role != "control":
                DBOS.listen_queues([])
            DBOS.launch()
            if role == "control":
                DBOS.register_queue(QUEUE, polling_interval_sec=1.0)
        except BaseException:
            self.close()
            raise

    def _register(self) -> None:
        from dbos import DBOS, SetWorkflowID

        def story(name: str, arguments: Json) -> Json:
            return self._tell(name, arguments)

        def tick(at: datetime, context: Json) -> None:
            # The time comes out of the store as the text that JSON has for it.
            moment = datetime.fromisoformat(str(at)).strftime("%Y-%m-%dT%H:%M:%SZ")
            with SetWorkflowID(f"{context['name']}-{moment}"):
                DBOS.start_workflow(self._story, context["story"], context["arguments"])

        # A story that kills its process again and again is given up after so many recoveries.
        self._story = DBOS.workflow(name="story", max_recovery_attempts=100)(story)
        self._tick = DBOS.workflow(name="tick", max_recovery_attempts=100)(tick)

    def run(self, story: str, arguments: Json, *, key: str) -> Json:
        """Run and wait. The same key never runs twice: it waits for, or gives, the first run's result."""
        handle = self._begin(story, arguments, key)
        try:
            envelope = handle.get_result(polling_interval_sec=POLL_SECONDS)
        except UnrecordedError as error:
            raise UnavailableError(
                "workflow.unrecorded",
                f"Story {story} was interrupted: what it did could not be written down.",
                why=str(error.args[0]),
                fix="Check that the disk has room; `modelwright serve` then goes on with it.",
            ) from error
        except StoppedError as error:
            raise UnavailableError(
                "workflow.stopped",
                f"Story {story} was interrupted because this process stops.",
                fix="It goes on when `modelwright serve` runs again.",
            ) from error
        except Exception as error:  # DBOS: cancelled, or given up after too many recoveries
            raise InternalError("workflow.story-lost", f"Story {story} did not finish: {error}") from error
        if "error" in envelope:
            raise from_json(envelope["error"])
        return cast("Json", envelope["result"])

    def start(self, story: str, arguments: Json, *, key: str) -> None:
        """Run in the background; the same key is not started twice."""
        self._begin(story, arguments, key)

    def _begin(self, story: str, arguments: Json, key: str) -> WorkflowHandle[Json]:
        from dbos import DBOS, SetWorkflowID

        if story not in self._stories:
            known = ", ".join(sorted(self._stories))
            raise NotFoundError("workflow.unknown-story", f"There is no story {story!r}.", fix=f"Known: {known}.")
        before = self.state(key)
        if before is not None and before.story != story:
            raise ConflictError(
                "workflow.key-taken", f"Key {key!r} belongs to the story {before.story}.", fix="Use another key."
            )
        if before is not None and before.status == "pending":
            self.recover()  # its process may be gone, and then nobody else would finish it
        with SetWorkflowID(key):
            return DBOS.start_workflow(self._story, story, arguments)

    def _tell(self, name: str, arguments: Json) -> Json:
        """The workflow's body: a story's result, or its error, as JSON."""
        try:
            return {"result": _as_json(self._stories[name](self._platform, _DurableSteps(self._closing), arguments))}
        except ModelwrightError as error:
            return {"error": error.to_json()}
        except UnrecordedError as error:
            self._unrecorded.add(error.args[1])
            raise
        except Exception as error:
            logger.exception("story %s failed", name)
            return {"error": _mistake(f"Story {name}", error).to_json()}

    def state(self, key: str) -> StoryState | None:
        """How far it is."""
        from dbos import DBOS

        found = DBOS.list_workflows(workflow_ids=[key], name="story")
        return self._state(found[0]) if found else None

    def states(self, *, limit: int = 50) -> Sequence[StoryState]:
        """Newest first."""
        from dbos import DBOS

        return [self._state(status) for status in DBOS.list_workflows(name="story", limit=limit, sort_desc=True)]

    def _state(self, status: WorkflowStatus) -> StoryState:
        from dbos import DBOS

        steps = DBOS.list_workflow_steps(status.workflow_id, load_output=False)
        names = tuple(step["function_name"] for step in steps if not step["function_name"].startswith("DBOS."))
        envelope: Json = status.output or {}
        error = envelope.get("error")
        if status.status in PENDING:
            word = "pending"
        elif status.status == "SUCCESS" and error is None:
            word = "done"
        else:
            word = "failed"
            lost = InternalError("workflow.story-lost", f"The story did not finish ({status.status.lower()}).")
            error = error or lost.to_json()
        name = str(status.input["args"][0]) if status.input else ""
        return StoryState(
            status.workflow_id, name, word, (status.created_at or 0) / 1000, names, envelope.get("result"), error
        )

    def recover(self) -> int:
        """Take over the pending stories of processes that are gone; returns how many. Safe to call in any process."""
        from dbos import DBOS

        for key in list(self._unrecorded):
            DBOS.resume_workflow(key)
            self._unrecorded.discard(key)
        with self._executors.alone():
            pending = DBOS.list_workflows(status="PENDING", app_version=VERSION, load_input=False, load_output=False)
            owners = {status.executor_id for status in pending if status.executor_id}
            gone = sorted(owner for owner in owners if self._executors.gone(owner))
            taken = DBOS._recover_pending_workflows(gone) if gone else []  # noqa: SLF001 - no public name in DBOS 3.4
            self._executors.bury()
        return len(taken)

    def forget(self, story: str, *, keep: int) -> int:
        """Delete the finished runs of a story, done or failed, but the newest ``keep``; returns how many went."""
        from dbos import DBOS

        finished = DBOS.list_workflows(name="story", status=FINISHED, load_output=False, sort_desc=True)
        old = [status.workflow_id for status in finished if status.input and status.input["args"][0] == story][keep:]
        for begin in range(0, len(old), DELETED_AT_ONCE):
            DBOS.delete_workflows(old[begin : begin + DELETED_AT_ONCE])
        return len(old)

    def schedule(self, name: str, story: str, arguments: Json, *, cron: str) -> None:
        """Run a story on a cron schedule (UTC), key ``<name>-<time>``; replaces a schedule of the same name.

        Raises:
            BadInputError: ``workflow.bad-cron``.
        """
        from dbos import DBOS
        from dbos._error import DBOSException

        context: Json = {"name": name, "story": story, "arguments": arguments}
        try:
            standing = DBOS.get_schedule(name)
            if standing is not None:
                if (standing["schedule"], standing["context"]) == (cron, context):
                    return
                DBOS.delete_schedule(name)
            DBOS.create_schedule(
                schedule_name=name, workflow_fn=self._tick, schedule=cron, context=context, queue_name=QUEUE
            )
        except DBOSException as error:
            raise BadInputError(
                "workflow.bad-cron",
                f"Schedule {cron!r} of {name} cannot be used.",
                why=str(error),
                fix="Write five cron fields, for example '0 3 * * *' (every day at 03:00 UTC).",
            ) from error

    def unschedule(self, *, besides: Collection[str]) -> None:
        """End every schedule but those of these names."""
        from dbos import DBOS

        for standing in DBOS.list_schedules():
            if standing["schedule_name"] not in besides:
                DBOS.delete_schedule(standing["schedule_name"])

    def close(self) -> None:
        """Stop taking work; pending stories stay pending."""
        from dbos import DBOS

        if DbosWorkflow._open is not self:
            return
        self._closing.set()
        DBOS.destroy(destroy_registry=True)
        DbosWorkflow._open = None
        self._executors.leave(self._executor)


@dataclass(frozen=True, slots=True)
class _DurableSteps:
    """Implements :class:`~modelwright.ports.workflow.Steps` inside a running DBOS workflow."""

    closing: threading.Event

    @property
    def key(self) -> str:
        from dbos import DBOS

        return str(DBOS.workflow_id)

    def do(self, name: str, work: Callable[[], T]) -> T:
        from dbos import DBOS

        def attempt() -> Json:
            try:
                return {"value": _as_json(work())}
            except ModelwrightError as error:
                if error.code == "store.unavailable":  # failing here would leave what the steps before did half done
                    raise UnrecordedError(f"Step {name!r}: {error}", self.key) from error
                return {"error": error.to_json()}
            except Exception as error:
                logger.exception("step %s failed", name)
                return {"error": _mistake(f"Step {name!r}", error).to_json()}

        self._check()
        try:
            outcome = DBOS.run_step({"name": name}, attempt)
        except Exception as error:  # the attempt raises none: it is the store that failed
            if self.closing.is_set():  # or it was closed while the step ran
                raise StoppedError from error
            logger.exception("step %s could not be recorded", name)
            raise UnrecordedError(f"Step {name!r}: {error}", self.key) from error
        if "error" in outcome:
            raise from_json(outcome["error"])
        return cast("T", outcome["value"])

    def sleep(self, seconds: float) -> None:
        from dbos import DBOS

        self._check()
        DBOS.sleep(seconds)

    def _check(self) -> None:
        if self.closing.is_set():
            raise StoppedError


def _as_json(value: Any) -> Any:
    """What a replay would give: the first run must see the same lists and keys as the run after a crash."""
    return json.loads(json.dumps(value))


def _mistake(where: str, error: Exception) -> InternalError:
    what = f"{where} failed: {type(error).__name__}: {error}"
    return InternalError("workflow.step-failed", what, fix="This is a defect: the log has the traceback.")


def _keep_from_stderr() -> None:
    """Give DBOS's logger a handler, or it makes one of what stderr is now, and flushes that when it is closed too."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _prepare(url: str) -> None:
    """Create an SQLite file private to its owner, in WAL mode (kept in the file), before DBOS opens it."""
    from sqlalchemy import make_url

    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return
    # Only a file that is not there yet: closing any descriptor of an open database drops this process's POSIX locks on
    # it, and the next process that closes the database would take the write-ahead log away under us.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(parsed.database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(parsed.database, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
