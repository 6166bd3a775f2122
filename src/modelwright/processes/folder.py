"""A folder of packages, followed: which versions there are, which of them are served, and why the others are not."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelwright.adapters.stores.package_files import Place, open_path, places
from modelwright.core.errors import ConflictError, InternalError, ModelwrightError, NotFoundError, RefusedError
from modelwright.core.package import Package
from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant
from modelwright.serve.repository import Changed, Entry

FIRST_VERSION = "1"

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Slot:
    """What was found at one place: the latest package that could be read there, and why a newer one is not served.

    ``before`` is the package that was served from here until ``package`` is; ``clash`` says which other package has
    its version already.
    """

    place: Place
    model: str
    package: Package | None = None
    before: Package | None = None
    error: ModelwrightError | None = None
    clash: ModelwrightError | None = None

    @property
    def version(self) -> str:
        """The version's name."""
        return self.place.version or FIRST_VERSION

    @property
    def why(self) -> ModelwrightError | None:
        """Why what lies here is not served."""
        return self.error or self.clash


@dataclass(frozen=True, slots=True)
class Change:
    """A model to be loaded or unloaded by request."""

    model: str
    load: bool
    done: Changed = field(compare=False)


class PackageFolder:
    """The packages of a folder as a routing table. Each is a fault domain of its own.

    :meth:`entries` and :meth:`change` are called on the plane's thread; the others one after another, in any thread.

    Args:
        root: the folder.
        grants: who may ask; none: everybody.
        wake: called when there is a change to be made.
        allow: gives a package back that may be served, and raises for one that may not.
    """

    def __init__(
        self,
        root: Path,
        grants: tuple[TokenGrant, ...],
        wake: Callable[[], object],
        allow: Callable[[Package], Package] | None = None,
    ) -> None:
        self._root, self._grants, self._wake, self._allow = root, grants, wake, allow
        self._slots: dict[Path, Slot] = {}
        self._unloaded: set[str] = set()
        self._changes: list[Change] = []
        self._packages: dict[str, Package] = {}
        self._epoch = 0

    def look(self, again: frozenset[str] = frozenset()) -> bool:
        """Read what is new or was replaced, and what is not served of the models to be tried ``again``.

        True when there is something new to serve, or something to serve no more.

        Raises:
            BadInputError: ``package.unreadable``: the folder cannot be read.
        """
        seen, changed = {}, False
        for place in places(self._root):
            slot = self._slots.get(place.path)
            if slot is None or slot.place.stamp != place.stamp or (slot.error is not None and slot.model in again):
                slot = _read(place, slot, self._allow)
                changed = True
            seen[place.path] = slot
        changed = changed or seen.keys() != self._slots.keys()
        self._slots = seen
        return changed

    def table(self) -> RoutingTable:
        """Every readable package that is not unloaded; the newest version of a model is its champion."""
        self._epoch += 1
        versions: dict[str, dict[str, Package]] = {}
        for path, slot in sorted(self._slots.items()):
            slot.clash = None
            if slot.package is None:
                continue
            of_model = versions.setdefault(slot.model, {})
            if slot.version in of_model:
                slot.clash = _duplicate(path, slot)
            else:
                of_model[slot.version] = slot.package
        self._packages = {package.digest: package for of in versions.values() for package in of.values()}
        routes = {name: _route(name, of) for name, of in versions.items() if name not in self._unloaded}
        return RoutingTable(self._epoch, routes, self._grants, authenticate=bool(self._grants))

    def without(self, _table: RoutingTable, failed: Mapping[str, ModelwrightError]) -> RoutingTable:
        """The table without the packages that could not be loaded; what was served in their place stays."""
        for path, slot in self._slots.items():
            if slot.package is not None and slot.package.digest in failed:
                slot.error = failed[slot.package.digest]
                slot.package, slot.before = slot.before, None
                if slot.package is not None and slot.package.digest in failed:
                    slot.package = None
                _logger.warning("package not served", extra={"path": str(path), **slot.error.to_json()})
        return self.table()

    def settle(self) -> None:
        """The latest table is in force: what was served before may be forgotten."""
        for slot in self._slots.values():
            slot.before = None

    def package(self, digest: str) -> Package:
        """The package of a digest in the latest table."""
        return self._packages[digest]

    def take_changes(self) -> list[Change]:
        """The changes asked for since the last call; the next :meth:`table` has them."""
        changes, self._changes = self._changes, []
        for change in changes:
            (self._unloaded.discard if change.load else self._unloaded.add)(change.model)
        return changes

    def failure(self, model: str) -> ModelwrightError | None:
        """Why the newest version of a model is not served.

        It is ``serve.unknown-model`` where there is none.
        """
        slots = {slot.version: slot for slot in self._slots.values() if slot.model == model}
        return slots[newest(slots)].why if slots else unknown(model, {slot.model for slot in self._slots.values()})

    def entries(self) -> list[Entry]:
        """What is not served, or is but not as it lies there."""
        told = []
        for slot in self._slots.values():
            why = slot.why
            if why is not None or slot.model in self._unloaded:
                told.append(Entry(slot.model, slot.version, "UNAVAILABLE", str(why) if why else "unloaded by request"))
        return told

    def change(self, model: str, *, load: bool, done: Changed) -> None:
        """Load or unload a model with the next look at the folder, which is now.

        Raises:
            NotFoundError: ``serve.unknown-model``: there is nothing to be unloaded.
        """
        names = {slot.model for slot in self._slots.values()}
        if not load and model not in names:
            raise unknown(model, names)
        self._changes.append(Change(model, load, done))
        self._wake()


def _read(place: Place, old: Slot | None, allow: Callable[[Package], Package] | None) -> Slot:
    """What lies at a place now. While that cannot be read, what was read there before stays as it was."""
    served = None if old is None else old.before or old.package
    slot = Slot(place, old.model if old is not None else place.folder, before=served)
    try:
        package = open_path(place.path)
        slot.model = package.name
        slot.package = package if allow is None else _newer(allow(package), served)
    except ModelwrightError as error:
        slot.error = error
    except Exception as error:
        _logger.exception("package not read", extra={"path": str(place.path)})
        slot.error = InternalError("serve.internal", "The package cannot be read.", why=type(error).__name__)
    if slot.error is not None:
        _logger.warning("package not read", extra={"path": str(place.path), **slot.error.to_json()})
        slot.package = served
    return slot


def _newer(package: Package, served: Package | None) -> Package:
    """The package, if it is not an older one in the place of what is served.

    Raises:
        RefusedError: ``serve.older-package``.
    """
    packed = package.description.created_at
    if served is None or served.name != package.name or packed >= served.description.created_at:
        return package
    raise RefusedError(
        "serve.older-package",
        f"The package of {package.name} is older than the one that is served from its place.",
        why=f"It was packed at {packed}, the one that is served at {served.description.created_at}.",
        fix="To go back on purpose, stop the server, put the package there, and start it again.",
    )


def unknown(model: str, names: Iterable[str]) -> NotFoundError:
    """The error for a model that is not in the folder."""
    return NotFoundError(
        "serve.unknown-model",
        f"Model {model[:100]!r} is not served here.",
        fix=f"There are: {', '.join(sorted(names)[:20]) or 'none'}.",
    )


def newest(versions: Iterable[str]) -> str:
    """The highest version: numbers in it count as numbers, so that 10 comes after 9."""
    return max(versions, key=lambda version: [_part(part) for part in re.findall(r"\d+|\D+", version)])


def _part(text: str) -> tuple[bool, int, str]:
    number = text.isascii() and text.isdecimal()
    return number, int(text) if number else 0, text


def _route(name: str, versions: Mapping[str, Package]) -> Route:
    champion = newest(versions)
    arms = [Arm(champion, versions[champion].digest, 1.0, "champion")]
    arms += [Arm(v, package.digest, 0.0, "pinned") for v, package in versions.items() if v != champion]
    return Route(name, tuple(arms))


def _duplicate(path: Path, slot: Slot) -> ConflictError:
    return ConflictError(
        "serve.duplicate-version",
        f"{path.name} is version {slot.version} of model {slot.model!r}, which another package is already.",
        fix=f"Put them into a folder, each under its version: {slot.model}/1.mw, {slot.model}/2.mw.",
    )
