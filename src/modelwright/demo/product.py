"""The product as its user meets it: the command line as a process, the server by its addresses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from modelwright.core.errors import UnavailableError

START_SECONDS = 60.0
NO_ROUNDS_SECONDS = 86_400


@dataclass(slots=True)
class Product:
    """One data directory, one project file, one server."""

    folder: Path
    http: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    control: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    token: str = ""
    server: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> list[str]:
        """The argument list of one ``modelwright`` call over this demo's data."""
        home, project = self.folder / "home", self.folder / "modelwright.yaml"
        return [
            sys.executable,
            "-m",
            "modelwright",
            "--home",
            str(home.absolute()),
            "--project",
            str(project.absolute()),
            *arguments,
        ]

    def call(self, *arguments: str, may_refuse: bool = False) -> Any:
        """Run a command with ``--json`` and give its answer.

        Raises:
            UnavailableError: ``demo.command-failed`` with what the command said; exit code 3 (a refusal) passes
                with ``may_refuse``.
        """
        done = subprocess.run(self.command(*arguments, "--json"), capture_output=True, text=True, check=False)
        if done.returncode != 0 and not (may_refuse and done.returncode == 3):
            raise UnavailableError(
                "demo.command-failed",
                f"`modelwright {' '.join(arguments)}` ended with {done.returncode}.",
                why=(done.stdout or done.stderr).strip()[-800:],
            )
        return json.loads(done.stdout)

    def start(self) -> None:
        """Start the server and wait until it is ready; its output goes to ``server.log``."""
        self.token = str(self.call("token", "issue", "--subject", "demo", "--role", "admin")["token"])
        # The demo looks at each month's end itself; a year in three minutes is nothing the server's own rounds expect.
        arguments = ["env", f"MODELWRIGHT_KEEP_SECONDS={NO_ROUNDS_SECONDS}"]
        arguments += self.command("serve", "--http", self.http, "--control", self.control)
        with (self.folder / "server.log").open("ab") as log:
            self.server = subprocess.Popen(arguments, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.server.poll() is None:
            if self._answers(f"http://{self.http}/v2/health/live") and self._answers(
                f"http://{self.control}/api/status"
            ):
                return
            time.sleep(0.05)
        code = self.server.poll()
        raise UnavailableError(
            "demo.server-not-ready",
            f"The server was not ready after {START_SECONDS:.0f} seconds."
            if code is None
            else f"The server ended with exit code {code}.",
            fix=f"Read {self.folder / 'server.log'}.",
        )

    def _answers(self, url: str) -> bool:
        try:
            return httpx.get(url, headers=self._headers(), timeout=2.0, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call of the control plane's API."""
        answer = httpx.request(
            method, f"http://{self.control}{path}", headers=self._headers(), json=body, timeout=300.0, trust_env=False
        )
        if answer.status_code >= 400:
            raise UnavailableError(
                "demo.request-failed", f"{method} {path} answered {answer.status_code}: {answer.text[:500]}"
            )
        return answer.json()

    def stop(self) -> int:
        """Stop the server as Ctrl-C would; its exit code."""
        if self.server is None:
            return 0
        if self.server.poll() is None:
            os.kill(self.server.pid, signal.SIGTERM)
        return self.server.wait(timeout=60)


def free_port() -> int:
    """A loopback port nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
