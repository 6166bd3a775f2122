"""Whole servers: a supervisor over gateways, a control process and the processes of models."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from modelwright import settings
from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.package import Package
from modelwright.core.version import Lineage, Version
from modelwright.deploy import plan
from modelwright.lifecycle.rollout import put_in_force
from modelwright.wiring import platform

ACT = Act("kit", "a load")
PATIENCE = 60.0


def register(home: Path, *packages: Package) -> list[Version]:
    """A version of each package, in a registry below ``home``, as its model's champion."""
    registered = []
    with platform(settings.load({"home": home})) as parts:
        for package in packages:
            digest = package_codec.store(package, parts.blobs.put)
            version = parts.versions.register(
                package.name, digest, lineage=Lineage(), verdict={"passed": True}, act=ACT
            )
            parts.routes.set_route(plan.all_at_once(version), act=ACT)
            registered.append(version)
    return registered


def promote(home: Path, version: Version) -> None:
    """Make it the champion of its model, and wait until every gateway serves it."""
    with platform(settings.load({"home": home})) as parts:
        put_in_force(parts, plan.all_at_once(version), act=ACT)


class Server:
    """``modelwright serve`` over the registry below ``home``; more arguments and settings as given."""

    def __init__(self, home: Path, *arguments: str, **more: object) -> None:
        self.home, self._folder = home, home.parent
        environment = {f"MODELWRIGHT_{name.upper()}": str(value) for name, value in more.items()}
        addresses = ["--http", "127.0.0.1:0", "--control", "127.0.0.1:0"]
        before = self.said.count("Ctrl-C")
        with (self._folder / "said").open("ab") as said, (self._folder / "log").open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "modelwright", "--home", str(home), "serve", *addresses, *arguments],
                stdout=said, stderr=log, cwd=self._folder, env={**os.environ, **environment},
            )  # fmt: skip
        limit = time.monotonic() + PATIENCE
        while self.said.count("Ctrl-C") == before:
            if self.popen.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"the server did not start: {self.log[-2000:]}")
            time.sleep(0.005)
        self.port = int(json.loads((home / "run" / "server.json").read_text())["http"].rpartition(":")[2])

    @property
    def said(self) -> str:
        """What the servers of this folder printed."""
        return _text(self._folder / "said")

    @property
    def log(self) -> str:
        """What they logged."""
        return _text(self._folder / "log")

    @property
    def token(self) -> str:
        """The first access token."""
        return next(word for word in self.said.split() if word.startswith("mw_"))

    @property
    def gateways(self) -> list[int]:
        """Process ids of those that have served a table, by what they say themselves."""
        said = [_text(place) for place in (self.home / "run").glob("gateway-*.json")]
        pids = {json.loads(text)["pid"] for text in said if text}
        return [pid for pid in children_of(self.popen.pid) if pid in pids]

    @property
    def control(self) -> int:
        """Process id of the control process; 0 while there is none."""
        return next((pid for pid in children_of(self.popen.pid) if b"processes.control" in _command(pid)), 0)

    @property
    def models(self) -> list[int]:
        """Process ids of models in processes of their own."""
        return [pid for gateway in self.gateways for pid in children_of(gateway)]

    @property
    def everything(self) -> list[int]:
        """Process ids of all that it started."""
        found, new = [], children_of(self.popen.pid)
        while new:
            found += new
            new = [child for pid in new for child in children_of(pid)]
        return found

    def stop(self) -> int:
        """SIGTERM, wait, and the exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait(PATIENCE)


def children_of(parent: int) -> list[int]:
    """Process ids of those that live."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        fields = _text(place / "stat").rpartition(")")[2].split()
        if fields and int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(place.name))
    return found


def alive(processes: Sequence[int]) -> list[int]:
    """Those that still live."""
    return [
        pid for pid in processes if _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[:1] not in ([], ["Z"])
    ]


def _command(pid: int) -> bytes:
    return _text(Path(f"/proc/{pid}/cmdline")).encode()


def _text(place: Path) -> str:
    try:
        return place.read_text(errors="replace")
    except OSError:  # gone meanwhile, or not there yet
        return ""
