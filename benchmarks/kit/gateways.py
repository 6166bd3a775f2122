"""Real gateway processes, what they cost, and the routing tables they follow."""

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from modelwright.adapters.stores.local_blobs import LocalBlobs
from modelwright.adapters.stores.package_files import write_zip
from modelwright.adapters.targets.process import ProcessTarget
from modelwright.core import package_codec
from modelwright.core.package import Package
from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant


class Gateway:
    """One running process; ``before`` is a command that becomes it."""

    def __init__(
        self, home: Path, arguments: Sequence[object], settings: Mapping[str, object], before: Sequence[str] = ()
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        environment = {f"MODELWRIGHT_{name.upper()}": str(value) for name, value in settings.items()}
        self.log = home / "stderr"
        command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", home, "--http", "127.0.0.1:0"]
        with self.log.open("ab") as errors:
            self.popen = subprocess.Popen(
                [str(part) for part in (*before, *command, *arguments)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )
        self.port = 0

    def wait_ready(self) -> None:
        """Read up to the ready line."""
        for line in self.popen.stdout:
            if match := re.match(r"ready http://[\d.]+:(\d+)", line):
                self.port = int(match[1])
                return
        raise RuntimeError(f"the gateway did not start: {self.log.read_text()[-2000:]}")

    def stop(self) -> int:
        """SIGTERM, wait, and the exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(30)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait(30)

    @property
    def rss(self) -> float:
        """MiB in memory."""
        return self._status("VmRSS") / 1024

    @property
    def peak(self) -> float:
        """Most MiB in memory since the last :meth:`forget_peak`."""
        return self._status("VmHWM") / 1024

    @property
    def threads(self) -> int:
        """Threads."""
        return self._status("Threads")

    @property
    def descriptors(self) -> int:
        """Open files and sockets."""
        return sum(1 for _ in Path(f"/proc/{self.popen.pid}/fd").iterdir())

    @property
    def cpu(self) -> float:
        """Seconds of processor time used."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def children(self) -> list[int]:
        """Process ids of the models that run in processes of their own."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # gone meanwhile
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == self.popen.pid and fields[0] != "Z":
                    found.append(int(place.name))
        return found

    def forget_peak(self) -> None:
        """Measure :attr:`peak` anew."""
        Path(f"/proc/{self.popen.pid}/clear_refs").write_text("5")

    def metric(self, name: str, token: str = "", label: str = "") -> float:
        """The sum over a metric's series, those with ``label`` where it is given; over a connection of its own."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/metrics", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        series = [line for line in lines if re.match(rf"{name}(_total)?[ {{]", line) and label in line]
        return sum(float(line.rpartition(" ")[2]) for line in series)

    def settled(self, token: str = "", seconds: float = 10) -> bool:
        """True once nothing is in flight and no connection is open but our own."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                open_ones = self.metric("modelwright_connections", token)
            except urllib.error.HTTPError:  # so many are open that it takes no more
                time.sleep(0.05)
                continue
            if open_ones <= 1 and not self.metric("modelwright_in_flight_requests", token) - 1:
                return True
            time.sleep(0.05)
        return False

    def _status(self, field: str) -> int:
        lines = Path(f"/proc/{self.popen.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


@contextlib.contextmanager
def serving(folder: Path, *packages: Package, before: Sequence[str] = (), **settings: object) -> Iterator[Gateway]:
    """A gateway of these packages, without tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments: list[object] = ["--no-auth"]
    for package in packages:
        write_zip(package, folder / f"{package.name}.mw")
        arguments += ["--package", folder / f"{package.name}.mw"]
    gateway = Gateway(folder / "home", arguments, settings, before)
    try:
        gateway.wait_ready()
        yield gateway
    finally:
        gateway.stop()


class Registry:
    """Blobs and a routing table that gateways follow, with a token for each tenant."""

    def __init__(self, home: Path, tenants: Sequence[str] = ("tenant",)) -> None:
        self._home, self._blobs, self._target = home, LocalBlobs(home / "blobs"), ProcessTarget(home / "run")
        self._grants = tuple(
            TokenGrant(hashlib.sha256(token_of(tenant).encode()).hexdigest(), tenant, "admin") for tenant in tenants
        )
        self.epoch = 0

    def publish(self, *packages: Package, spoil: bool = False) -> int:
        """A table with each package as champion; its version is the table's epoch, which is returned.

        ``spoil`` overwrites a byte of the packages' graphs where they are kept.
        """
        self.epoch += 1
        arms = {
            p.name: Arm(str(self.epoch), package_codec.store(p, self._blobs.put), 1.0, "champion") for p in packages
        }
        routes = {name: Route(name, (arm,)) for name, arm in arms.items()}
        if spoil:
            for package in packages:
                self._spoil(package.read("model.onnx"))
        self._target.publish(RoutingTable(self.epoch, routes, self._grants))
        return self.epoch

    def _spoil(self, content: bytes) -> None:
        for path in (self._home / "blobs").rglob("*"):
            if path.is_file() and path.read_bytes() == content:
                path.chmod(0o600)
                path.write_bytes(bytes([content[0] ^ 1]) + content[1:])

    def in_force(self, seconds: float = 30) -> bool:
        """Wait for the newest table to be in force.

        Raises:
            RefusedError: ``deploy.load-failed``.
        """
        return self._target.wait(self.epoch, timeout=seconds)

    @contextlib.contextmanager
    def serving(self, **settings: object) -> Iterator[Gateway]:
        """A gateway that follows this registry."""
        gateway = Gateway(self._home, [], settings)
        try:
            gateway.wait_ready()
            yield gateway
        finally:
            gateway.stop()


def token_of(tenant: str) -> str:
    """The token of a tenant."""
    return f"mw_{tenant}"
