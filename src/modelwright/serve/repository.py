"""The repository extension: what is there and in which state, and who may load and unload it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from modelwright.core.errors import ModelwrightError, NotFoundError, RefusedError
from modelwright.serve.plane import Plane

Changed = Callable[[ModelwrightError | None], object]
"""Called once, on the plane's thread: with the reason where a change could not be made."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A version in the index. ``state`` is READY, UNAVAILABLE, LOADING or UNLOADING."""

    name: str
    version: str
    state: str
    reason: str = ""


class Source(Protocol):
    """Where packages come from when no registry decides what is served."""

    def entries(self) -> Iterable[Entry]:
        """What is there and not served, with the reason; or served, with something to be said of it."""
        ...

    def change(self, model: str, *, load: bool, done: Changed) -> None:
        """Load what there is of a model now, or unload it until it is asked for again by this call.

        Raises:
            NotFoundError: ``serve.unknown-model``.
        """
        ...


class Repository:
    """What the repository extension says and does, over every interface alike.

    Args:
        plane: what serves.
    """

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.source: Source | None = None

    @property
    def changeable(self) -> bool:
        """Whether models are loaded and unloaded over these calls."""
        return self.source is not None

    def index(self, repository: str, *, stopping: bool) -> list[Entry]:
        """Every version, by model and version; none is ready where the server is about to end.

        Raises:
            NotFoundError: ``serve.unknown-repository``.
        """
        _require_unnamed(repository)
        told = {(entry.name, entry.version): entry for entry in (self.source.entries() if self.source else ())}
        for route in self._plane.routes.values():
            for arm in route.by_version.values():
                state, reason = self._plane.residence.state(arm.loaded)
                more = told.get((arm.model, arm.version))
                if stopping:
                    state, reason = "UNAVAILABLE", "the server is stopping"
                elif more is not None:
                    reason = "; ".join(part for part in (reason, more.reason) if part)
                elif state == "READY" and not reason and arm.loaded.runner is not None:
                    why = arm.loaded.runner.placement.reason
                    reason = f"it runs on the CPU: {why}" if why else ""
                told[(arm.model, arm.version)] = Entry(arm.model, arm.version, state, reason)
        return [told[key] for key in sorted(told)]

    def change(self, repository: str, model: str, *, load: bool, done: Changed) -> None:
        """Load or unload a model.

        Raises:
            NotFoundError: ``serve.unknown-repository``, ``serve.unknown-model``.
            RefusedError: ``serve.no-load``: what is served is decided elsewhere.
        """
        _require_unnamed(repository)
        if self.source is None:
            raise RefusedError(
                "serve.no-load",
                f"Model {model[:100]!r} is neither loaded nor unloaded over this call.",
                why="The registry decides what is served, and keeps on record who changed it and why.",
                fix="Use `modelwright release`, `promote` or `rollback`.",
            )
        self.source.change(model, load=load, done=done)


def _require_unnamed(repository: str) -> None:
    if repository:
        raise NotFoundError(
            "serve.unknown-repository",
            f"There is no repository {repository[:100]!r}.",
            fix="Leave the name out: there is one repository, and it has none.",
        )
