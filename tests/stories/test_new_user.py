"""A new user, from a model file to a service that is watched, improved and set back: the tutorial, to the letter."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parent.parent.parent / "docs/tutorial.md"
PATIENCE = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Newcomer:
    """A person in an empty folder with an empty home, who pastes what the tutorial says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http, self.control = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "MODELWRIGHT_HTTP": self.http,
            "MODELWRIGHT_CONTROL": self.control,
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    def write(self, block: str) -> None:
        """A block that begins with its file's name."""
        name = block.split("\n", 1)[0].removeprefix("# ")
        (self.folder / name).write_text(block.replace("127.0.0.1:8080", self.http))

    def paste(self, block: str) -> str:
        """Run a block in the shell; its standard output."""
        block = block.replace("127.0.0.1:8080", self.http)
        done = subprocess.run(
            ["bash", "-eu", "-c", block],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        assert "\x1b" not in done.stdout + done.stderr, "colours on a pipe"
        return done.stdout

    def asked(self, *words: str) -> object:
        """What a command says with --json, whatever its exit code."""
        done = subprocess.run(
            ["modelwright", *words, "--json"],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return json.loads(done.stdout)

    def serve(self) -> subprocess.Popen[str]:
        """Start the server, and keep the token that it prints."""
        said = self.folder / "serve.out"
        with said.open("w") as out, (self.folder / "serve.err").open("w") as err:
            server = subprocess.Popen(
                ["modelwright", "serve"], cwd=self.folder, env=self.environment, stdout=out, stderr=err, text=True
            )
        end = time.monotonic() + PATIENCE
        while "Ctrl-C" not in said.read_text():
            assert server.poll() is None, (self.folder / "serve.err").read_text()
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.05)
        self.environment["TOKEN"] = re.search(r"mw_[\w-]+", said.read_text()).group()
        return server


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    return Newcomer(tmp_path)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TUTORIAL.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_the_tutorial_does_what_it_says(newcomer: Newcomer):
    train, release, predict, truth, send, look, wrong, better, back = blocks("bash")
    for block in (*blocks("python"), *blocks("yaml")):
        newcomer.write(block)
    newcomer.paste(train)
    assert "promoted flight-delay version 1" in newcomer.paste(release)
    server = newcomer.serve()
    try:
        assert json.loads(newcomer.paste(predict))["model_version"] == "1"
        assert json.loads(newcomer.paste(truth)) == {"accepted": 1}
        newcomer.paste(send)
        seen = newcomer.paste(look + "\n")
        assert "301 predictions, 301 truths" in seen
        assert "301 rows written to predictions.parquet" in seen
        assert (newcomer.folder / "predictions.parquet").stat().st_size > 1000

        refused = newcomer.paste(wrong)
        assert "exit code 3" in refused
        assert "check.refused" in refused
        promoted = newcomer.paste(better)
        assert "promoted flight-delay version 2" in promoted
        assert "canary" in promoted
        assert "rolled-back flight-delay version 1: complaints since noon" in newcomer.paste(back)
    finally:
        server.terminate()
        assert server.wait(PATIENCE) == 0
    assert newcomer.asked("ledger", "verify")["verified"]
    status = newcomer.asked("status")
    assert status["server"] is None
    assert [arm["version"] for arm in status["models"][0]["arms"]] == ["1"]
