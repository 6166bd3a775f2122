"""One data directory, opened: the platform over it, and its durable workflow."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Workflow
from modelwright.settings import Settings
from modelwright.wiring.entries import channels
from modelwright.wiring.home import private_home
from modelwright.wiring.models import graphs_of, runners, with_graphs
from modelwright.wiring.packages import fetch_version, local_model, open_package, signer


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Unix seconds (UTC)."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; wakes on Ctrl-C in the main thread."""
        threading.Event().wait(seconds)


@contextmanager
def platform(settings: Settings) -> Iterator[Platform]:
    """The Platform over one data directory; closes the database at the end."""
    # lazy: see wiring
    from modelwright.adapters.runners.tree_choice import choose_where_possible
    from modelwright.adapters.sources.files import FileSource
    from modelwright.adapters.sources.project import read_project
    from modelwright.adapters.stores.database import open_database
    from modelwright.adapters.stores.local_blobs import LocalBlobs
    from modelwright.adapters.targets.process import ProcessTarget
    from modelwright.adapters.trainers.recipe import RecipeTrainer
    from modelwright.record.log import DuckLog

    home = private_home(settings.home.absolute())
    project = read_project(settings.project)
    database = open_database(f"sqlite:///{home / 'modelwright.db'}", keys=home / "keys")
    try:
        yield Platform(
            home=home,
            clock=SystemClock(),
            blobs=LocalBlobs(home / "blobs"),
            versions=database.versions,
            routes=database.routes,
            ledger=database.ledger,
            tokens=database.tokens,
            findings=database.findings,
            log=DuckLog(home / "log"),
            target=ProcessTarget(home / "run"),
            source=FileSource(),
            runners=runners(settings, memory_bytes=settings.native_memory_bytes, isolation=settings.native_isolation),
            frameworks=with_graphs(graphs_of(partial(fetch_version, database.versions, LocalBlobs(home / "blobs")))),
            trainer=RecipeTrainer(),
            channels=channels(project.alerts),
            policies=project.policies,
            trust=database.trust,
            signer=signer(settings),
            open_package=open_package,
            kernels=choose_where_possible if settings.kernels else None,
            local_model=local_model,
        )
    finally:
        database.close()


@contextmanager
def workflow(platform: Platform, *, role: str) -> Iterator[Workflow]:
    """Durable stories over the same database file; ``role`` names the kind of process (``control``, ``cli``)."""
    from modelwright.adapters.workflows.dbos import DbosWorkflow  # lazy: 0.5 s import
    from modelwright.lifecycle import STORIES

    durable = DbosWorkflow(
        f"sqlite:///{platform.home / 'modelwright.db'}",
        home=platform.home,
        platform=platform,
        stories=STORIES,
        role=role,
    )
    try:
        yield durable
    finally:
        durable.close()
