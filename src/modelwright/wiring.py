"""Settings and entry points to one frozen Platform: the only module that knows stages and adapters."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwright import settings as settings_module
from modelwright.core.errors import BadInputError
from modelwright.ports.channel import Channel
from modelwright.ports.framework import Conversion, Framework
from modelwright.ports.platform import Platform
from modelwright.ports.runner import ChooseKernel, Place, RunnerLoader
from modelwright.ports.source import Source
from modelwright.ports.workflow import Workflow
from modelwright.settings import Settings

if TYPE_CHECKING:
    from modelwright.adapters.environments.built import Environments
    from modelwright.adapters.inspection.files import Found
    from modelwright.core.lock import Pin
    from modelwright.core.package import Manifest, Package
    from modelwright.lifecycle.local import Workbench
    from modelwright.ports.blobs import BlobStore
    from modelwright.ports.store import VersionStore

Locking = Callable[[Conversion], Conversion]


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


def private_home(home: Path) -> Path:
    """Make the data directory (0700) with its folders.

    Raises:
        BadInputError: ``settings.home-unusable`` when it cannot be made or others may write to it.
    """
    try:
        for folder in (home, *(home / name for name in ("blobs", "log", "run", "keys", "work"))):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(
            "settings.home-unusable",
            f"The data directory {home} cannot be used: {error.strerror}.",
            fix="Set MODELWRIGHT_HOME (or --home) to a directory that you may write to.",
        ) from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise BadInputError(
            "settings.home-unusable",
            f"The data directory {home} is read-only for you.",
            why="Even a look at the registry keeps its ledger signed, and so must write.",
            fix="Set MODELWRIGHT_HOME (or --home) to a directory that you may write to.",
        )
    if home.stat().st_mode & 0o022:
        raise BadInputError(
            "settings.home-unusable",
            f"Others may write to the data directory {home}.",
            why="Whoever can write there can replace a model.",
            fix=f"chmod go-w {home}",
        )
    return home


def plugin(group: str, name: str) -> EntryPoint:
    """The entry point of that name.

    Raises:
        BadInputError: ``plugins.unknown`` naming what there is.
    """
    found = {point.name: point for point in entry_points(group=group)}
    if name not in found:
        raise BadInputError(
            "plugins.unknown", f"There is no {name!r} in {group}.", fix=f"Known: {', '.join(sorted(found)) or 'none'}."
        )
    return found[name]


def frameworks(of_graphs: Framework | None = None) -> tuple[Framework, ...]:
    """Every framework adapter found, and those that stand on others: of MLflow's folders, and of graphs.

    Graphs are of package files alone, where none is given.

    One that cannot be imported is left out (``modelwright plugins`` says why).
    """
    loaded: list[Framework] = []
    for point in entry_points(group="modelwright.frameworks"):
        try:
            loaded.append(point.load()())
        except ImportError:
            continue
    return (*loaded, mlflow_folders(loaded), of_graphs or graphs())


def mlflow_folders(others: Sequence[Framework]) -> Framework:
    """Packs MLflow's model directories, the file in one by whichever of the others takes it."""
    from modelwright.adapters.frameworks.mlflow_folder import MlflowFramework  # lazy, as in platform()

    return MlflowFramework(others)


@contextmanager
def local_model(artifact: str) -> Iterator[str]:
    """The path of a model: as it was given, or of a copy of what MLflow keeps under ``models:/`` or ``runs:/``."""
    from modelwright.adapters.sources.mlflow_models import fetched  # lazy, as in platform()

    if not in_mlflow(artifact):
        yield artifact
        return
    with fetched(artifact) as folder:
        yield str(folder)


def in_mlflow(artifact: str) -> bool:
    """True for the name of a model that MLflow keeps, which :func:`local_model` fetches."""
    from modelwright.adapters.sources.mlflow_models import SCHEMES  # lazy, as in platform()

    return artifact.startswith(SCHEMES)


def environments(settings: Settings) -> Environments:
    """The environments that native packages run in."""
    from modelwright.adapters.environments.built import Environments  # lazy, as in platform()

    return Environments(
        settings.home.absolute() / "environments",
        use=settings.native_environments,
        limit_bytes=settings.environments_bytes,
    )


def place(settings: Settings | None = None) -> Place:
    """Which libraries a native package runs with; without settings those of the environment, read when it is asked."""
    return lambda package: environments(settings or settings_module.load({})).place(package)


def resolve(requirements: Path, wheelhouse: Path | None) -> tuple[Pin, ...]:
    """A requirements file as a whole lock."""
    from modelwright.adapters.environments import pip  # lazy, as in platform()

    return pip.resolve(requirements, wheelhouse=wheelhouse)


def lock_of(package: Package) -> tuple[Pin, ...]:
    """The lock that a package holds."""
    from modelwright.adapters.environments import built  # lazy, as in platform()

    return built.lock_of(package)


def registered(platform: Platform, model: str, reference: str) -> Package:
    """The package of a registered version."""
    return _fetch(platform.versions, platform.blobs, model, reference)[1]


def environments_needed(platform: Platform) -> set[str]:
    """Digests of the environments that registered versions ask for, those in graphs too."""
    from modelwright.adapters.environments import built  # lazy, as in platform()
    from modelwright.core.package_codec import open_member

    needed = set()
    for model in platform.versions.models():
        for version in platform.versions.versions(model):
            package = registered(platform, model, version.number)
            inner = [open_member(package, name) for name, _ in package.graph.models] if package.graph else []
            needed |= {built.digest_of(lock) for one in (package, *inner) if (lock := built.lock_of(one))}
    return needed


def locking(requirements: Path | None, locked: Sequence[Pin], *, hashes: bool, wheelhouse: Path | None) -> Locking:
    """What completes the lock of a model that is being packed."""
    from modelwright.adapters.environments import locking as means  # lazy, as in platform()

    if requirements is not None:
        return partial(means.declared, locked=locked, file=requirements.name)
    return partial(means.hashed, wheelhouse=wheelhouse) if hashes else lambda conversion: conversion


def runners(settings: Settings | None = None, **native: Any) -> RunnerLoader:
    """What loads packages of every route; ``isolation`` is the setting's where it is not given."""
    from modelwright.adapters.runners.graph import GraphRunners  # lazy, as in platform()
    from modelwright.adapters.runners.routed import RoutedRunners

    if "isolation" not in native:
        native["isolation"] = (settings or settings_module.load({})).native_isolation
    return GraphRunners(RoutedRunners(place=place(settings), **native))


def graphs(registered: Callable[[str, str], tuple[str, Package]] | None = None) -> Framework:
    """Packs graphs of models: from package files, and from the registry: of the environment, where none is given."""
    from modelwright.adapters.frameworks.graph import GraphFramework  # lazy, as in platform()

    return GraphFramework(runners(), open_package, registered or _registered(None))


def _registered(settings: Settings | None) -> Callable[[str, str], tuple[str, Package]]:
    """Number and package of a registered model; its registry is opened when one is asked for."""

    def fetch(model: str, reference: str) -> tuple[str, Package]:
        with platform(settings or settings_module.load({})) as opened:
            return _fetch(opened.versions, opened.blobs, model, reference)

    return fetch


def _fetch(versions: VersionStore, blobs: BlobStore, model: str, reference: str) -> tuple[str, Package]:
    from modelwright.core.package_codec import load  # lazy, as in platform()

    version = versions.version(model, reference)
    return version.number, load(version.digest, blobs.get)


def channels(configured: Sequence[Mapping[str, Any]]) -> tuple[Channel, ...]:
    """The log channel and those of the project file."""
    wanted: list[Mapping[str, Any]] = [{"channel": "log"}, *configured]
    return tuple(
        plugin("modelwright.channels", str(row["channel"])).load()(
            **{key: value for key, value in row.items() if key != "channel"}
        )
        for row in wanted
    )


def file_source() -> Source:
    """What reads and writes files of rows."""
    from modelwright.adapters.sources.files import FileSource  # lazy, as in platform()

    return FileSource()


def workbench(settings: Settings | None = None, *, kernels: bool = False) -> Workbench:
    """The ports that need no data directory; graphs may name models of the one that ``settings`` say.

    ``kernels``: measure what runs each model that is packed.
    """
    from modelwright.lifecycle.local import Workbench  # lazy, as in platform()

    choose: ChooseKernel | None = None
    if kernels:
        from modelwright.adapters.runners.tree_choice import choose  # lazy: asked for by few

    of_graphs = graphs(_registered(settings))
    return Workbench(source=file_source(), frameworks=frameworks(of_graphs), runners=runners(settings), kernels=choose)


def open_package(path: Path) -> Package:
    """A package from a directory or a one-file archive; its records are verified, no code from it runs."""
    from modelwright.adapters.stores.package_files import open_path  # lazy, as in platform()

    return open_path(path)


def signer(settings: Settings) -> Callable[[Manifest], bytes] | None:
    """Makes the signature of a package with the key that is set; None where none is."""
    from modelwright.signing.check import sign  # lazy, as in platform()

    if not settings.signing_key:
        return None
    return partial(sign, private=Path(settings.signing_key).expanduser(), passphrase=settings.signing_passphrase)


def look_into(path: Path) -> Found:
    """What a file that runs code when it is opened would import; nothing of it runs."""
    from modelwright.adapters.inspection.files import look  # lazy, as in platform()

    return look(path)


def save_package(package: Package, path: Path) -> None:
    """Write a package: one file where the name ends in ``.mw`` or ``.zip``, else a directory."""
    from modelwright.adapters.stores.package_files import write_directory, write_zip  # lazy, as in platform()

    (write_zip if path.suffix in {".mw", ".zip"} else write_directory)(package, path)


def serve_alone(package: Package, home: Path) -> str:
    """Make ``home`` a data directory whose gateways serve that package alone; the token they ask for."""
    # lazy, as in platform()
    from modelwright.adapters.stores.local_blobs import LocalBlobs
    from modelwright.adapters.targets.process import ProcessTarget
    from modelwright.core import package_codec
    from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant

    private_home(home)
    token = f"mw_{secrets.token_urlsafe(32)}"
    digest = package_codec.store(package, LocalBlobs(home / "blobs").put)
    route = Route(package.name, (Arm("1", digest, 1.0, "champion"),))
    grant = TokenGrant(hashlib.sha256(token.encode()).hexdigest(), "bench", "admin")
    ProcessTarget(home / "run").publish(RoutingTable(1, {package.name: route}, (grant,)))
    return token


def variants() -> tuple[Callable[..., bytes], tuple[str, ...]]:
    """What makes a variant of a package's graph, and the kinds that it knows."""
    from modelwright.adapters.frameworks.onnx_variants import KINDS, make  # lazy, as in platform()

    return make, tuple(KINDS)


def change_settings(project: Path, values: Mapping[str, object]) -> dict[str, object]:
    """Set these settings in the project file; their former values there (None: not there)."""
    from modelwright.adapters.sources.project_settings import change  # lazy, as in platform()

    return change(project, values)


def restore_settings(project: Path) -> None:
    """Make the project file what it was before :func:`change_settings`."""
    from modelwright.adapters.sources.project_settings import restore  # lazy, as in platform()

    restore(project)


def plugins() -> list[dict[str, str]]:
    """Every entry point of our groups: ``group``, ``name``, ``distribution``, ``error`` (empty when it loads)."""
    found = []
    for group in ("modelwright.frameworks", "modelwright.loaders", "modelwright.channels"):
        for point in entry_points(group=group):
            try:
                point.load()
                error = ""
            except ImportError as failure:
                error = str(failure)
            source = point.dist.name if point.dist else ""
            found.append({"group": group, "name": point.name, "distribution": source, "error": error})
    return found


def listed_frameworks() -> list[dict[str, Any]]:
    """Every kind of model that can be packed; see :func:`modelwright.adapters.frameworks.listing.listed`."""
    from modelwright.adapters.frameworks.listing import listed  # lazy, as in platform()

    return listed(entry_points(group="modelwright.frameworks"))


@contextmanager
def platform(settings: Settings) -> Iterator[Platform]:
    """The Platform over one data directory; closes the database at the end."""
    # Lazy: a command that only prints --help or reads a package must not pay for SQL, DuckDB and the rest.
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
            frameworks=frameworks(graphs(partial(_fetch, database.versions, LocalBlobs(home / "blobs")))),
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
