"""Interleaved rounds over the servers, and what they showed."""

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from kit.figures import two_cores
from serving import catalog, environments, load, tables
from serving import server as servers
from serving.catalog import Server
from serving.tables import Measurement, Start
from serving.workloads import Workload, make

FREE_BYTES = 8 * 2**30
NOT_ASKED = "not asked"


class Run:
    """All rounds and what they showed. ``why`` says why a server, or a server under a workload, lacks figures."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self._seconds, self._folder, self._environments = given.seconds, folder, given.environments
        self._cores = two_cores()
        (folder / "models").mkdir()
        made = make(folder / "models")
        names = [name for name in given.workloads.split(",") if name] or list(made)
        if unknown := sorted(set(names) - set(made)):
            raise SystemExit(f"No workload is named {', '.join(unknown)}. There are: {', '.join(made)}.")
        self._first = made["row-1"]
        self.workloads: list[Workload] = [made[name] for name in names]
        self.servers = catalog.chosen(given.only)
        self.pythons: dict[str, Path] = {}
        self.taken: list[Measurement] = []
        self.starts: list[Start] = []
        self.why: dict[tuple[str, str], str] = {}

    def install(self) -> None:
        """An environment for every peer; whoever has none is a row that says why."""
        for peer in dict.fromkeys(server.peer for server in self.servers if server.peer):
            try:
                python = environments.python_of(peer, self._environments)
                environments.prepare(python, peer, self._folder / "models")
                self.pythons[peer] = python
            except environments.NotInstalledError as error:
                self.why |= {(s.name, ""): f"not installed: {error}" for s in self.servers if s.peer == peer}

    def round(self, number: int) -> None:
        """Every server once, each with a home of its own that is gone afterwards, prediction log and all."""
        for server in self.servers:
            if server.peer and server.peer not in self.pythons:
                continue
            home = Path(tempfile.mkdtemp(dir=self._folder))
            try:
                self._one(server, number, home)
            except servers.FailedError as error:
                self._failed(server, "", number, error)
            finally:
                shutil.rmtree(home, ignore_errors=True)

    def _one(self, server: Server, number: int, home: Path) -> None:
        python = self.pythons.get(server.peer, Path(sys.executable))
        since, busy = time.perf_counter(), servers.busy_seconds(self._cores[0])
        with servers.started(server, python, self._folder / "models", home, self._cores[0]) as running:
            cold = servers.first_answer(running, server.forms["row"], self._first, since)
            others = (servers.busy_seconds(self._cores[0]) - busy - running.cpu_seconds()) / cold
            self.starts.append(Start(server.name, number, cold, running.megabytes(), max(others, 0.0)))
            for workload in self.workloads:
                form = server.forms.get(workload.form)
                if form is None:
                    why = "it takes no bytes" if server.backend == "onnx" else "the graph is ONNX"
                    self.why[(server.name, workload.name)] = f"{NOT_ASKED}, {why}"
                    continue
                if shutil.disk_usage(home).free < FREE_BYTES:
                    raise servers.FailedError(f"less than {FREE_BYTES / 2**30:.0f} GiB of disk are free")
                try:
                    running.check(form, workload)
                    shown = load.measure(running, form, workload, self._seconds, self._cores)
                except servers.FailedError as error:
                    self._failed(server, workload.name, number, error)
                    continue
                weight = running.megabytes()
                self.taken.append(Measurement(server.name, workload.name, number, megabytes=weight, **asdict(shown)))
                _say(f"round {number} {server.name} {workload.name}: {shown.rate:,.0f}/s")

    def _failed(self, server: Server, workload: str, number: int, error: Exception) -> None:
        self.why[(server.name, workload)] = f"failed in round {number}: {error}"
        _say(f"round {number} {server.name} {workload}: {error}")

    def report(self) -> str:
        """All tables, and in full why figures are missing."""
        titles = {server.name: server.title for server in self.servers}
        parts = [tables.summary(self.taken)]
        for workload in self.workloads:
            shown = {server.name: _shown(server, workload) for server in self.servers}
            taken = [m for m in self.taken if m.workload == workload.name]
            parts.append(tables.workload_table(workload.title, shown, taken, self._reasons(workload.name)))
        parts.append(tables.start_table(titles, self.starts, self._reasons("")))
        parts += [f"{name}: {reason}" for name, reason in self.failures().items()]
        return "\n\n".join(parts)

    def failures(self) -> dict[str, str]:
        """What was not installed or failed, by server and workload."""
        failed = {where: reason for where, reason in self.why.items() if not reason.startswith(NOT_ASKED)}
        return {" ".join(where).strip(): reason for where, reason in failed.items()}

    def _reasons(self, workload: str) -> dict[str, str]:
        """In few words; the rest stands below the tables."""
        mine = {name: reason for (name, about), reason in self.why.items() if about in {"", workload}}
        return {name: reason.partition(":")[0] for name, reason in mine.items()}


def _shown(server: Server, workload: Workload) -> str:
    """The server's title, and that it is asked in JSON where the others send bytes."""
    form = server.forms.get(workload.form)
    plain = workload.form in {"tensor", "image"} and form is not None and not form.binary
    return f"{server.title} (JSON)" if plain else server.title


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)
