"""What most commands begin with: the settings of this call, the platform, and the durable stories."""

from __future__ import annotations

import getpass
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelwright import settings as settings_module
from modelwright.core.errors import BadInputError
from modelwright.interfaces.cli.output import working
from modelwright.ports.platform import ModelPolicy

if TYPE_CHECKING:
    from modelwright.ports.platform import Platform
    from modelwright.ports.workflow import Workflow
    from modelwright.settings import Settings


LOCAL_ROLE = "admin"
"""Of whoever may write to the data directory: they need no token."""

# what to say once a step of a story is done, and what it means that the next one runs
STEPS = {
    "pack": "packed; checking ...",
    "check": "checked ...",
    "register": "registered; deploying ...",
    "release challenger": "the canary is over ...",
    "export": "recorded rows exported; training ...",
    "train": "trained; packing ...",
    "route to version": "in force at every gateway ...",
}


def current_settings(**overrides: object) -> Settings:
    """Settings from the environment and the options of the group and of this command."""
    context = click.get_current_context()
    given = context.find_object(dict) or {}
    paths = {key: Path(value).expanduser() for key, value in given.items() if value is not None}
    if "project" in paths:  # the default may be absent; one that was named must be there
        existing_file(str(paths["project"]), "project file")
    return settings_module.load({**paths, **overrides})


@contextmanager
def current_platform() -> Iterator[Platform]:
    """The platform over the data directory of this call."""
    from modelwright import wiring  # lazy: SQL and adapters

    with wiring.platform(current_settings()) as platform:
        yield platform


def operator() -> str:
    """Who acts on this command line: the setting ``operator``, or the account's name."""
    named = current_settings().operator
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such account in a bare container
        return "operator"


def tell(story: str, arguments: dict[str, Any], *, message: str, quiet: bool) -> dict[str, Any]:
    """Run a story to its end and give its result; its steps are shown as they finish."""
    from modelwright import wiring  # lazy: SQL, adapters, the workflow engine

    key = f"{story}-{uuid.uuid4().hex[:12]}"
    started = serving = False
    try:
        with (
            working(message, quiet=quiet) as say,
            known_platform(arguments.get("model")) as platform,
            wiring.workflow(platform, role="cli") as workflow,
        ):
            started = True
            serving = bool(platform.target.live())
            policy = platform.policies.get(str(arguments.get("name") or arguments.get("model")), ModelPolicy())
            return _follow(workflow, story, arguments, key, say, STEPS | {"start canary": trial(policy, story)})
    except KeyboardInterrupt:
        if started:  # a durable story is not undone by leaving it
            who = "the running server" if serving else "the next `modelwright serve`"
            click.echo(
                f"\nStory {key} goes on all the same: {who} finishes it (`modelwright stories` shows how far it is).",
                err=True,
            )
        raise


@contextmanager
def known_platform(model: str | None) -> Iterator[Platform]:
    """The platform; a story about a model that is not there ends here, before it is told.

    Raises:
        NotFoundError: ``register.unknown-model``, with the name that was meant.
    """
    with current_platform() as platform:
        if model is not None:
            platform.versions.versions(model)
        yield platform


def trial(policy: ModelPolicy, story: str) -> str:
    """What a canary waits for, so that nobody waits in the dark."""
    way_out = " (--no-canary promotes at once)" if story == "release" else ""
    return (
        f"canary gets {policy.canary_weight:.0%} of the requests; waiting for {policy.canary_requests} of its answers, "
        f"at most {policy.canary_timeout:.0f} s{way_out} ..."
    )


def _follow(
    workflow: Workflow, story: str, arguments: dict[str, Any], key: str, say: Any, steps: Mapping[str, str]
) -> dict[str, Any]:
    import threading  # lazy with the rest of the story machinery

    done = threading.Event()

    def watch() -> None:
        seen = 0
        while not done.wait(0.3):
            state = workflow.state(key)
            told = [steps[step] for step in (state.steps if state else ()) if step in steps]
            if len(told) > seen:
                seen = len(told)
                say(f"{story}: {told[-1]}")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return dict(workflow.run(story, arguments | {"actor": operator(), "role": LOCAL_ROLE}, key=key))
    finally:
        done.set()
        watcher.join()


def existing(path: str, what: str) -> Path:
    """A path that is there.

    Raises:
        BadInputError: ``cli.missing-file``, with the nearest name in the same folder.
    """
    import difflib  # lazy: only on this path

    found = Path(path).expanduser()
    if found.exists():
        return found.absolute()
    folder = found.parent if found.parent.is_dir() else None
    names = sorted(entry.name for entry in folder.iterdir()) if folder and os.access(folder, os.R_OK) else []
    near = difflib.get_close_matches(found.name, names, n=1, cutoff=0.6)
    near = near or [name for name in names if Path(name).stem == found.name][:1]
    why = "" if folder else f"There is no folder {found.parent}."
    fix = f"Did you mean {found.parent / near[0]}?" if near else "Check the path."
    raise BadInputError("cli.missing-file", f"There is no {what} {path}.", why=why, fix=fix)


_FOLDERS = ("model.py", "manifest.json", "config.json", "saved_model.pb", "MLmodel")


def existing_model(path: str, *, graph: str = "") -> Path:
    """A model's file that is there and can be read, a folder that holds a model, or a package's folder.

    Of a project file it is the graph of that name (``modelwright.yaml#NAME``).

    Raises:
        BadInputError: as :func:`existing_file`.
    """
    found = existing(path, "model file")
    if found.suffix == ".yaml" and not found.name.endswith(".graph.yaml"):
        return existing_file(path, "project file").with_name(f"{found.name}#{graph}")
    whole = any((found / name).is_file() for name in _FOLDERS)
    return found if whole else existing_file(path, "model file")


def existing_file(path: str, what: str) -> Path:
    """A file that is there and can be read.

    Raises:
        BadInputError: ``cli.missing-file``, ``cli.not-a-file``, ``cli.unreadable-file``.
    """
    found = existing(path, what)
    if found.is_dir():
        raise BadInputError("cli.not-a-file", f"{path} is a directory, not a {what}.", fix="Name a file in it.")
    if not os.access(found, os.R_OK):
        raise BadInputError(
            "cli.unreadable-file", f"You may not read the {what} {path}.", fix="Ask its owner, or copy it."
        )
    return found
