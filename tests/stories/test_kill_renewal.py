"""``kill -9`` of the whole process tree in the middle of a renewal, twenty times at random moments."""

import contextlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import httpx
import joblib
import pytest

from modelwright.adapters.sources.files import FileSource
from modelwright.adapters.stores.database import open_database
from modelwright.adapters.stores.local_blobs import LocalBlobs
from modelwright.core import package_codec
from modelwright.core.table import Table
from modelwright.record.log import DuckLog

KILLS = 20
RECIPE = textwrap.dedent(
    """
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def rows(count, seed):
        draw = np.random.default_rng(seed)
        frame = pd.DataFrame({"a": draw.normal(size=count), "b": draw.normal(size=count)})
        return frame, (3 * frame.a + 2 * frame.b + draw.logistic(size=count) > 0).astype(int)

    def load(recorded):
        return (*rows(200, 1), *rows(200, 2))

    def train(X, y):
        return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    """
)
PROJECT = """
models:
  tiny:
    recipe: {load: recipe.py:load, train: recipe.py:train, target: late}
    canary: {weight: 0.5, requests: 10, timeout: 300}
    margin: 1.0
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid: int) -> list[int]:
    """The process and everything below it, in whatever session it is."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


class Server:
    """``modelwright serve`` over one data directory, and how it dies."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.http, self.control = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.token = self.command("token", "issue", "--subject", "test", "--role", "admin")["token"]
        self.headers = {"Authorization": f"Bearer {self.token}"}
        self.asking = httpx.Client(timeout=10, trust_env=False)  # one: each reads all certificates of the machine first
        self.process: subprocess.Popen | None = None

    def arguments(self, *arguments: str) -> list[str]:
        files = ["--home", str(self.home), "--project", str(self.folder / "modelwright.yaml")]
        return [sys.executable, "-m", "modelwright", *files, *arguments]

    def command(self, *arguments: str):
        done = subprocess.run(self.arguments(*arguments, "--json"), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments("serve", "--http", self.http, "--control", self.control),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ask(self, method: str, path: str, **more) -> httpx.Response | None:
        with contextlib.suppress(httpx.HTTPError):
            return self.asking.request(method, f"http://{self.control}{path}", headers=self.headers | more)
        return None

    def story(self, key: str, *, seconds: float = 30.0) -> dict:
        """The story's state, as soon as the control plane answers; begun when it was never heard of."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            answer = self.ask("GET", f"/api/stories/{key}")
            if answer is not None and answer.status_code == 200:
                return answer.json()
            if answer is not None and answer.status_code == 404:
                self.ask("POST", "/api/models/tiny/renew", **{"Idempotency-Key": key})
            time.sleep(0.02)
        raise AssertionError(f"no answer about {key}: {(self.folder / 'server.log').read_text()[-3000:]}")

    def after_steps(self, key: str, count: int) -> dict:
        """The story's state when so many more of its steps are finished, or after three seconds."""
        until = time.monotonic() + 3
        first = state = self.story(key)
        while len(state["steps"]) < len(first["steps"]) + count and time.monotonic() < until:
            time.sleep(0.01)
            state = self.story(key)
        return state

    def kill(self) -> None:
        for pid in family(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Traffic(threading.Thread):
    """A client that never stops asking, and remembers what was answered."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server, self.acknowledged, self.strange = server, [], []
        self.stopping = threading.Event()

    def run(self) -> None:
        draw, count = random.Random(0), 0
        while not self.stopping.is_set():
            with (
                contextlib.suppress(httpx.HTTPError),
                httpx.Client(
                    base_url=f"http://{self.server.http}", headers=self.server.headers, trust_env=False
                ) as http,
            ):
                while not self.stopping.wait(0.003):
                    count += 1
                    value = lambda name: {  # noqa: E731
                        "name": name,
                        "shape": [1, 1],
                        "datatype": "FP32",
                        "data": [draw.gauss(0, 1)],
                    }
                    body = {"id": f"request-{count:06d}", "inputs": [value("a"), value("b")]}
                    answer = http.post("/v2/models/tiny/infer", json=body, timeout=5)
                    if answer.status_code == 200:
                        self.acknowledged.append(body["id"])
                    elif answer.status_code != 503:
                        self.strange.append(f"{answer.status_code} {time.time():.3f} {answer.text}")
            self.stopping.wait(0.02)

    def stop(self) -> list[str]:
        self.stopping.set()
        self.join()
        return self.acknowledged


@pytest.fixture
def server(tmp_path):
    (tmp_path / "recipe.py").write_text(RECIPE)
    (tmp_path / "modelwright.yaml").write_text(PROJECT)
    names: dict = {}
    exec(compile(RECIPE, "recipe.py", "exec"), names)
    features, label, held, truth = names["load"](None)
    joblib.dump(names["train"](features, label), tmp_path / "model.joblib")
    table = {name: held[name].to_numpy() for name in held} | {"late": truth.to_numpy()}
    FileSource().write(Table(table), tmp_path / "validation.parquet")
    server = Server(tmp_path)
    model, data = str(tmp_path / "model.joblib"), str(tmp_path / "validation.parquet")
    assert server.command("release", model, "--name", "tiny", "--data", data, "--target", "late")["version"] == "1"
    yield server
    server.asking.close()
    if server.process is not None and server.process.poll() is None:
        server.kill()


def look(server: Server) -> tuple[str, int]:
    """What a crash must leave: an alias that points at one existing version, and a ledger that verifies."""
    with open_database(f"sqlite:///{server.home / 'modelwright.db'}", keys=server.home / "keys") as database:
        champion = database.versions.alias("tiny", "champion")
        numbers = [version.number for version in database.versions.versions("tiny")]
        assert numbers.count(champion) == 1
        verdict = database.ledger.verify()
        assert verdict.verified, verdict.why
        return champion, len(numbers)


def test_twenty_kills_in_the_middle_of_renewals_lose_nothing_and_do_nothing_twice(server):
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    traffic = Traffic(server)
    traffic.start()
    keys, states, kills = ["renewal-1"], [], 0
    while kills < KILLS:
        server.start()
        if server.story(keys[-1])["status"] != "pending":
            keys.append(f"renewal-{len(keys) + 1}")
            server.story(keys[-1])
        answer = server.after_steps(keys[-1], draw.randrange(9))
        time.sleep(draw.uniform(0, 0.4))
        server.kill()
        if answer["status"] == "pending":
            kills += 1  # it was in the middle
            states.append(answer["steps"][-1] if answer["steps"] else "")
        look(server)
    print(f"killed after {states}")

    server.start()
    until = time.monotonic() + 60
    while (last := server.story(keys[-1]))["status"] == "pending" and time.monotonic() < until:
        time.sleep(0.1)
    assert last["status"] == "done", last
    results = [server.story(key)["result"] for key in keys]
    acknowledged = traffic.stop()
    server.kill()

    assert [result["outcome"] for result in results] == ["promoted"] * len(keys)
    champion, versions = look(server)
    assert versions == 1 + len(keys)
    assert [result["version"] for result in results] == [str(number) for number in range(2, versions + 1)]
    assert champion == str(versions)
    with open_database(f"sqlite:///{server.home / 'modelwright.db'}", keys=server.home / "keys") as database:
        actions = [entry.action for entry in database.ledger.entries(subject="tiny")]
        orders = [order.key for order in database.findings.orders("tiny")]
        digest = database.versions.version("tiny", "champion").digest
    for action in ("pack.package", "check.passed", "register.add", "deploy.promote"):
        assert actions.count(action) == 1 + len(keys), action
    for action in ("retrain.order", "retrain.train", "deploy.canary"):
        assert actions.count(action) == len(keys), action
    assert sorted(orders) == sorted(keys)

    package = package_codec.load(digest, LocalBlobs(server.home / "blobs").get)
    rows = DuckLog(server.home / "log").joined("tiny", signature=package.signature, status=None)
    lost = set(acknowledged) - set(rows["prediction_id"])
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged predictions are gone"
    assert len(acknowledged) > 1000
    assert not traffic.strange, f"{len(traffic.strange)} such answers: {traffic.strange[:3]}"
    print(f"{len(keys)} renewals, {len(acknowledged)} acknowledged predictions")
