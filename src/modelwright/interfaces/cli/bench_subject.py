"""What is to be measured: the server, the model, and the requests to send it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright import settings as settings_module
from modelwright.bench import answers, bodies, facts, own_server
from modelwright.bench.door import Door
from modelwright.bench.generators import Generators
from modelwright.bench.job import Job, Protocol
from modelwright.bench.session import Session
from modelwright.core import package_codec
from modelwright.core.errors import BadInputError, NotFoundError
from modelwright.core.package import Package
from modelwright.core.signature import Signature, TensorSpec
from modelwright.interfaces.cli.session import current_platform, current_settings, existing, existing_file
from modelwright.interfaces.cli.state import running_server

BUSY_GENERATOR = 0.85
NOT_OF_THE_USER = {"grpc": "", "tls_certificate": "", "tls_key": "", "tls_client_ca": ""}
"""On loopback there is no TLS, and the address of gRPC is the user's own server's."""
TOLD = ("workers", "threads", "queue_seconds", "log_mode", "native_instances")
"""Settings that figures depend on: they stand in the report."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for."""

    name: str | None
    url: str | None
    grpc_address: str
    token: str
    ca: str
    package: str | None
    data: str | None
    rows: int
    binary: bool
    protocol: Protocol
    generators: int
    pin: bool
    warm_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, what is known of it, and the rows to ask with. ``version``: whose answers are known; empty: any's."""

    name: str
    signature: Signature
    package: Package | None
    rows: bodies.Rows
    tolerance: float
    version: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is ready. ``pids``: its processes, where they are on this machine; ``workers``: its gateways."""

    door: Door
    grpc: tuple[str, int] | None
    pids: tuple[int, ...]
    where: str
    workers: int | None
    cores: tuple[int, ...] = ()
    generator_cores: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Running:
    """A session that is warmed up, its generators, and the answers per second of the warm-up."""

    session: Session
    generators: int
    warm_rate: float


def subject_of(wishes: Wishes) -> Subject:
    """The model, from a package file, the registry, or what a server at a URL says of it.

    Raises:
        BadInputError: ``bench.no-model``; what the rows lack.
        NotFoundError: ``register.unknown-model``, ``bench.unknown-model``.
    """
    package, version = _package(wishes)
    if package is None:
        assert wishes.name is not None
        signature = _described(Door.of(str(wishes.url), wishes.token, wishes.ca), wishes.name)
    else:
        signature = package.signature
    name = package.name if package is not None else str(wishes.name)
    rows = _rows(wishes, signature, package)
    parity = package.parity.tolerance if package is not None and package.parity else None
    return Subject(name, signature, package, rows, answers.tolerance_of(parity), version if wishes.url else "")


def _package(wishes: Wishes) -> tuple[Package | None, str]:
    """The package that holds golden rows (None: only the server knows the model), and its version in the registry."""
    if wishes.package is not None:
        from modelwright import wiring  # lazy: adapters

        return wiring.open_package(existing(wishes.package, "package")), ""
    if wishes.name is None:
        raise BadInputError("bench.no-model", "No model is named.", fix="modelwright bench NAME, or --package FILE.")
    home = current_settings().home
    if wishes.url is not None and not (home / "modelwright.db").exists():
        return None, ""
    try:
        with current_platform() as platform:
            version = platform.versions.version(wishes.name, "champion")
            return package_codec.load(version.digest, platform.blobs.get), version.number
    except NotFoundError:
        if wishes.url is None:
            raise
        return None, ""


def _described(door: Door, name: str) -> Signature:
    """The signature as the server's metadata tell it."""
    body: dict[str, Any] = door.json(f"/v2/models/{name}")

    def specs(key: str) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(row["name"], row["datatype"], tuple(row["shape"])) for row in body[key])

    return Signature(specs("inputs"), specs("outputs"))


def _rows(wishes: Wishes, signature: Signature, package: Package | None) -> bodies.Rows:
    if wishes.data is not None:
        return _own_rows(existing_file(wishes.data, "data file"), signature, package)
    golden = package.golden.examples if package is not None and package.golden is not None else None
    if package is None or golden is None or not golden.rows:
        return bodies.invented(signature)
    inputs = package_codec.golden_tensors(signature.inputs, golden.inputs)
    right = (
        package_codec.golden_tensors(signature.outputs, golden.outputs) if package.description.row_independent else {}
    )
    rows = bodies.Rows(inputs, "golden rows", right, golden.rows if right else 0)
    return bodies.mixed(rows)


def _own_rows(path: Path, signature: Signature, package: Package | None) -> bodies.Rows:
    """Rows of a file; the answers to them are those of the package run here, where it can be."""
    from modelwright import wiring  # lazy: adapters
    from modelwright.features.columns import feeds

    table = wiring.workbench().source.read(path)
    if not len(table):
        raise BadInputError("bench.no-rows", f"There are no rows in {path.name}.", fix="Give a file with rows.")
    inputs = feeds(signature, table)
    right: dict[str, Any] = {}
    if package is not None and package.description.row_independent and package.native is None:
        runner = wiring.workbench().runners.load(package)
        try:
            right = dict(runner.run(inputs))
        finally:
            runner.close()
    return bodies.Rows(inputs, f"rows of {path.name}", right, len(table) if right else 0)


@contextmanager
def served(wishes: Wishes, subject: Subject, changes: dict[str, object]) -> Iterator[Served]:
    """The server that runs, or one of our own with the user's settings and ``changes``.

    Raises:
        UnavailableError, UnauthenticatedError, NotFoundError: nobody answers there, or not to us.
    """
    if wishes.url is not None:
        yield _running(wishes, subject)
        return
    package = subject.package
    assert package is not None
    from modelwright import wiring  # lazy: adapters

    settings = settings_module.load({**_typed(changes), "home": current_settings().home})
    mine, theirs = _cores(wishes)
    with tempfile.TemporaryDirectory(prefix="modelwright-bench-", dir=_work()) as folder:
        home = Path(folder)
        token = wiring.serve_alone(package, home)
        project = {"project": current_settings().project.absolute()}
        environment = settings_module.environment_of({**NOT_OF_THE_USER, **project, **changes})
        grpc = wishes.protocol == "grpc"
        with own_server.started(
            home, workers=settings.workers, grpc=grpc, environment=environment, cores=theirs
        ) as server:
            door = Door("127.0.0.1", server.http, token=token)
            place = ("127.0.0.1", server.grpc) if grpc else None
            yield Served(door, place, server.pids, "its own server on loopback", settings.workers, theirs, mine)


def _typed(changes: dict[str, object]) -> dict[str, object]:
    known = {setting.name: setting for setting in settings_module.SETTINGS}
    return {name: known[name].parse(str(value)) for name, value in changes.items()}


def _work() -> Path | None:
    """On the disk of the data directory, where there is one: the prediction log is part of what is measured."""
    work = current_settings().home / "work"
    return work if os.access(work, os.W_OK) else None


def _cores(wishes: Wishes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The generators' cores and the server's; empty where there is only one, or nobody wants it."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not wishes.pin:
        return (), ()
    own = len(cores) // 2
    return tuple(cores[-own:]), tuple(cores[:-own])


def _running(wishes: Wishes, subject: Subject) -> Served:
    door = Door.of(str(wishes.url), wishes.token, wishes.ca)
    door.json(f"/v2/models/{subject.name}")
    server = running_server(current_settings().home / "run" / "server.json")
    pids = facts.family(server["pid"]) if server and server["http"] == f"{door.host}:{door.port}" else []
    place = settings_module.address(wishes.grpc_address) if wishes.protocol == "grpc" else None
    return Served(door, place, tuple(pids), f"the server at {door.url}", _gateways(pids) or None)


def _gateways(pids: Sequence[int]) -> int:
    found = 0
    for pid in pids:
        with suppress(OSError):
            found += b"modelwright.processes.gateway" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return found


def told_settings() -> dict[str, object]:
    """The settings that figures depend on, as they are."""
    settings = current_settings()
    return {name: getattr(settings, name) for name in TOLD if hasattr(settings, name)}


@contextmanager
def session(wishes: Wishes, subject: Subject, server: Served) -> Iterator[Running]:
    """Generators on that server, warmed up: as many as it takes for them not to be the limit.

    Raises:
        UnavailableError: ``bench.cannot-connect``.
    """
    requests = requests_for(wishes, subject, server)
    host, port = server.grpc or (server.door.host, server.door.port)
    tls = server.door.tls
    job = Job(
        host, port, [request.content for request in requests], wishes.protocol, tls, server.door.ca, server.door.token
    )
    most = len(server.generator_cores) or max(1, len(os.sched_getaffinity(0)) // 2)
    count = wishes.generators or 1
    while True:
        with Generators(job, count, server.generator_cores) as generators:
            observer = facts.Observer(server.door, subject.name, server.pids, generators.pids)
            judge = answers.Judge(wishes.protocol, subject.tolerance, subject.version)
            made = Session(generators, observer, requests, judge)
            warm = made.warm_up(wishes.warm_seconds)
            if not wishes.generators and count < most and warm.measured.generator_share > BUSY_GENERATOR:
                count = min(most, count * 2)
                continue
            yield Running(made, count, warm.measured.figures.rate)
            return


def requests_for(wishes: Wishes, subject: Subject, server: Served) -> Sequence[bodies.Request]:
    """The requests to send."""
    door = server.door
    return bodies.requests_of(
        subject.name,
        subject.signature,
        subject.rows,
        per_request=wishes.rows,
        binary=wishes.binary,
        protocol=wishes.protocol,
        host=f"{door.host}:{door.port}",
        token=door.token,
    )
