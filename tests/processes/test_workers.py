"""``modelwright serve --workers 2``: one server in two gateway processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from modelwright import settings as settings_module
from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.package import Package
from modelwright.core.version import Lineage, Version
from modelwright.deploy import plan
from modelwright.lifecycle.rollout import put_in_force
from modelwright.ports.platform import Platform
from modelwright.wiring import platform as wired

PATIENCE = 60.0
ACT = Act("tester", "a test")
COUNT = 'modelwright_request_seconds_count{model="total",status="200",version="%s"}'
ROWS = 'modelwright_predictions_total{model="total",role="champion",status="ok",version="%s"}'


def _until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


class Server:
    """`modelwright serve --workers 2` over a registry that serves ``total``."""

    def __init__(self, folder: Path, *more: str, token: str = "") -> None:
        self.home, self.folder = folder / "home", folder
        self.command = [sys.executable, "-m", "modelwright", "--home", str(self.home)]
        addresses = ["--http", "127.0.0.1:0", "--control", "127.0.0.1:0"]
        with (folder / "said").open("wb") as said, (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*self.command, "serve", "--workers", "2", *addresses, *more], stdout=said, stderr=log, cwd=folder
            )
        _until(lambda: self.process.poll() is not None or "Ctrl-C" in self.said, "the banner")
        assert self.process.poll() is None, self.log
        self.facts = json.loads((self.home / "run" / "server.json").read_text())
        self.token = token or next(word for word in self.said.split() if word.startswith("mw_"))

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def gateways(self) -> dict[str, int]:
        """Process ids by socket (``g0``, ``g1``), of the younger one where a gateway has two."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        children, found = set(map(int, listed.split())), {}
        said = (self.home / "run").glob("gateway-g*.json")
        for place in sorted(said, key=lambda place: int(place.stem.rpartition(".")[2])):
            with contextlib.suppress(OSError):
                if (pid := json.loads(place.read_text())["pid"]) in children:
                    found[place.stem.split("-")[1].split(".")[0]] = pid
        return found

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.facts["http"], timeout=PATIENCE)

    def predict(self, connection: http.client.HTTPConnection) -> tuple[int, str, bool]:
        """Status, the version that answered, and whether the connection is closed now."""
        inputs = [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]
        headers = {"authorization": f"Bearer {self.token}"}
        connection.request("POST", "/v2/models/total/infer", json.dumps({"inputs": inputs}), headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        return answer.status, str(body.get("model_version", body)), answer.will_close

    def scrape(self) -> dict[str, float]:
        """The figures, over a new connection: any gateway may answer."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", "/metrics", headers={"authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, text
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(figure) for name, _, figure in lines}

    def answered(self) -> int:
        """Requests in the statistics of the protocol, over a new connection: any gateway may answer."""
        with contextlib.closing(self.connect()) as connection:
            headers = {"authorization": f"Bearer {self.token}"}
            connection.request("GET", "/v2/models/total/stats", headers=headers)
            told = json.loads(connection.getresponse().read())["model_stats"]
        return sum(one["inference_stats"]["success"]["count"] for one in told)

    def reload(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.command, "reload"], capture_output=True, text=True, check=False, timeout=PATIENCE)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(PATIENCE) == 0


class Clients:
    """Clients that ask without a pause, each over a connection that it keeps; every third answer over a new one."""

    def __init__(self, server: Server, number: int = 4) -> None:
        self.server, self.stop = server, threading.Event()
        self.answered: Counter[str] = Counter()
        self.lost: list[Exception] = []
        self.wrong: list[object] = []
        self.closed = 0
        self.allowed = {"1"}
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(number)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 100) -> None:
        """Wait until that many more were answered."""
        before = self.answered.total()
        _until(lambda: self.answered.total() >= before + count or self.wrong, "answers")

    def _run(self, index: int) -> None:
        connection, turn = self.server.connect(), 0
        while not self.stop.is_set():
            turn += 1
            if index % 2 and turn % 3 == 0:
                connection.close()
            before = self.allowed
            try:
                status, version, closed = self.server.predict(connection)
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.lost.append(error)
                connection.close()
                continue
            with self._lock:
                self.answered[version] += 1
                self.closed += closed
                if status != 200 or version not in before | self.allowed:
                    self.wrong.append((status, version))
        connection.close()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with wired(settings_module.load({"home": tmp_path / "home"})) as platform:
        yield platform


@pytest.fixture
def versions(platform: Platform, sum_package: Callable[..., Package]) -> list[Version]:
    """Two versions of ``total``; the first is in force."""
    registered = []
    for bias in (0.0, 100.0):
        package = sum_package(bias=bias)
        digest = package_codec.store(package, platform.blobs.put)
        registered.append(
            platform.versions.register(package.name, digest, lineage=Lineage(), verdict={"passed": True}, act=ACT)
        )
    platform.routes.set_route(plan.all_at_once(registered[0]), act=ACT)
    return registered


@pytest.fixture
def server(versions: list[Version], tmp_path: Path) -> Iterator[Server]:
    assert versions
    started = Server(tmp_path)
    yield started
    started.stop()


def test_both_gateways_answer_and_any_of_them_tells_the_exact_sum(server: Server) -> None:
    assert len(server.gateways) == 2
    for _ in range(60):
        with contextlib.closing(server.connect()) as connection:
            assert server.predict(connection)[:2] == (200, "1")
    writers = {path.name.split(".")[0] for path in (server.home / "log").glob("g*")}
    assert writers == {"g0", "g1"}
    for _ in range(12):  # whoever answers
        told = server.scrape()
        assert told[COUNT % "1"] == 60
        assert told[ROWS % "1"] == 60
        assert told["modelwright_routing_epoch"] > 0
    with contextlib.ExitStack() as held:
        connections = [held.enter_context(contextlib.closing(server.connect())) for _ in range(20)]
        for connection in connections:
            server.predict(connection)
        _until(lambda: server.scrape()["modelwright_connections"] >= 21, "every gateway's connections")


def test_the_statistics_are_those_of_all_gateways_never_go_back_and_outlive_a_reload(server: Server) -> None:
    seen = [0]
    for _ in range(40):
        with contextlib.closing(server.connect()) as connection:
            assert server.predict(connection)[0] == 200
        seen.append(server.answered())
    assert seen == sorted(seen)
    _until(lambda: server.answered() == 40, "the sum")  # a gateway tells the others four times a second
    assert server.reload().returncode == 0
    assert server.answered() == 40


def test_the_histograms_of_the_stages_are_those_of_all_gateways(server: Server) -> None:
    for _ in range(40):
        with contextlib.closing(server.connect()) as connection:
            assert server.predict(connection)[0] == 200
    count = 'modelwright_stage_seconds_count{{model="total",stage="{}"}}'
    for stage in ("decode", "queue", "infer", "encode"):
        _until(lambda stage=stage: server.scrape().get(count.format(stage)) == 40, stage)
    assert server.scrape()['modelwright_batch_rows_count{model="total"}'] <= 40


def test_a_killed_gateway_refuses_nobody_and_no_counter_goes_back(server: Server) -> None:
    seen: list[dict[str, float]] = []
    with Clients(server) as clients:
        for name in ("g0", "g1", "g0"):
            clients.more()
            seen.append(server.scrape())
            killed = server.gateways[name]
            os.kill(killed, signal.SIGKILL)
            seen += [server.scrape() for _ in range(5)]
            _until(lambda name=name, killed=killed: server.gateways.get(name, killed) != killed, "the next process")
            clients.more()
    seen.append(server.scrape())
    assert clients.wrong == []
    # What was under way in a killed process is lost to its caller; nobody is turned away.
    assert not any(isinstance(error, ConnectionRefusedError) for error in clients.lost)
    assert len(clients.lost) <= 3 * 4
    counted = [told[COUNT % "1"] for told in seen]
    assert counted == sorted(counted)
    assert clients.answered.total() <= counted[-1] <= clients.answered.total() + len(clients.lost)
    metrics = server.home / "run" / "metrics"
    _until(lambda: len(list(metrics.iterdir())) == 4, "the fold")  # two live, one of the dead, and the supervisor's own
    told = server.scrape()
    restarts = {name: told[f'modelwright_restarts_total{{process="{name}"}}'] for name in ("g0", "g1")}
    assert restarts == {"g0": 2, "g1": 1}
    assert len(list((server.home / "run").glob("gateway-*.lock"))) == 2


def test_gateways_replaced_under_load_fail_no_request_and_lose_no_count(
    server: Server, platform: Platform, versions: list[Version]
) -> None:
    seen: list[float] = []
    with Clients(server) as clients:
        for moves in (False, True):
            clients.more()
            before = server.gateways
            done: list[subprocess.CompletedProcess[str]] = []
            reloading = threading.Thread(target=lambda done=done: done.append(server.reload()))
            reloading.start()
            while reloading.is_alive():
                if moves:
                    _move(platform, clients, versions)
                told = server.scrape()
                seen.append(told.get(COUNT % "1", 0) + told.get(COUNT % "2", 0))
            assert done[0].returncode == 0, done[0].stderr
            assert "replaced" in done[0].stdout
            assert not set(before.values()) & set(server.gateways.values())
            clients.more()
    assert clients.lost == []
    assert clients.wrong == []
    assert clients.closed >= 4
    told = server.scrape()
    seen.append(told[COUNT % "1"] + told[COUNT % "2"])
    assert seen == sorted(seen)
    assert {version: told[COUNT % version] for version in "12"} == clients.answered
    _until(lambda: sum(arm.ok for arm in platform.log.arms("total", since=0.0)) == seen[-1], "the log")


def _move(platform: Platform, clients: Clients, versions: list[Version]) -> None:
    """Every gateway serves the other version when ``put_in_force`` returns; the clients know which ones are right."""
    for number in ("2", "1"):
        clients.allowed = {"1", "2"}
        put_in_force(platform, plan.all_at_once(versions[int(number) - 1]), act=ACT)
        clients.allowed = {number}
        time.sleep(0.05)


def test_gateways_that_cannot_be_replaced_stay(server: Server) -> None:
    before = server.gateways
    (server.home / "blobs").rename(server.home / "gone")
    done = server.reload()
    assert done.returncode == 5
    assert "serve.reload-failed" in done.stderr
    assert server.gateways == before
    with contextlib.closing(server.connect()) as connection:
        assert server.predict(connection)[:2] == (200, "1")
    shutil.rmtree(server.home / "blobs")  # an empty one, made meanwhile
    (server.home / "gone").rename(server.home / "blobs")
    assert server.reload().returncode == 0
    assert not set(before.values()) & set(server.gateways.values())


def test_what_a_server_counted_its_successor_on_the_same_data_tells_too(server: Server, tmp_path: Path) -> None:
    with contextlib.closing(server.connect()) as connection:
        for _ in range(5):
            server.predict(connection)
    server.process.kill()
    server.process.wait(PATIENCE)
    again = Server(tmp_path, token=server.token)
    try:
        assert again.scrape()[COUNT % "1"] == 5
    finally:
        again.stop()


def test_grpc_is_answered_by_both_gateways_and_over_a_reload(versions: list[Version], tmp_path: Path) -> None:
    assert versions
    server = Server(tmp_path, "--grpc", "127.0.0.1:0")
    address = re.search(r"gRPC +(\S+)", server.said)[1]
    told = [("authorization", f"Bearer {server.token}")]
    tensor = {"name": "X", "shape": [1, 3], "datatype": "FP32", "contents": {"fp32_contents": [1, 2, 3]}}
    request = service_pb2.ModelInferRequest(model_name="total", inputs=[tensor])
    alone = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each channel
    try:
        for sent in (30, 60):
            for _ in range(30):
                with grpc.insecure_channel(address, options=alone) as channel:
                    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                    answer = stub.ModelInfer(request, metadata=told, timeout=PATIENCE, wait_for_ready=True)
                    assert answer.model_version == "1"
            assert server.scrape()[ROWS % "1"] == sent
            assert {path.name.split(".")[0] for path in (server.home / "log").glob("g*")} == {"g0", "g1"}
            assert server.reload().returncode == 0
    finally:
        server.stop()


def test_a_token_s_rate_holds_over_all_gateways(server: Server) -> None:
    issue = [*server.command, "token", "issue", "--subject", "slow", "--role", "predictor", "--rate", "0.001"]
    slow = subprocess.run(issue, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout.strip()
    headers = {"authorization": f"Bearer {slow}"}
    body = json.dumps({"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]})

    def ask() -> int:
        with contextlib.closing(server.connect()) as connection:
            connection.request("POST", "/v2/models/total/infer", body, headers)
            return connection.getresponse().status

    seen: list[int] = []
    _until(lambda: seen.append(ask()) or 200 in seen, "the token to be known")
    counted = seen.count(401)
    seen += [ask() for _ in range(20)]
    assert Counter(seen) == {200: 1, 429: 20, **({401: counted} if counted else {})}


def test_nothing_to_reload_is_said_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelwright", "--home", str(tmp_path), "reload"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "serve.not-running" in done.stderr


def test_gateways_write_one_access_log_of_whole_lines_and_top_finds_the_server(
    versions: list[Version], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert versions
    monkeypatch.setenv("MODELWRIGHT_ACCESS_LOG", str(tmp_path / "access.jsonl"))
    server = Server(tmp_path)
    try:
        with Clients(server) as clients:
            clients.more()
        _until(lambda: len(set(_answering(server, tmp_path))) == 2, "both gateways in the log")
        monkeypatch.setenv("MODELWRIGHT_TOKEN", server.token)
        told = subprocess.run([*server.command, "top", "--json", "--interval", "0.1"], capture_output=True, check=True)
        figures = json.loads(told.stdout)
        assert (figures["gateways"], figures["models"][0]["model"]) == (2, "total")
    finally:
        server.stop()
    lines = [json.loads(line) for line in (tmp_path / "access.jsonl").read_text().splitlines()]
    predicted = [line for line in lines if line.get("model") == "total"]
    assert len(predicted) >= clients.answered.total()
    assert len({line["prediction_id"] for line in predicted}) == len(predicted)


def _answering(server: Server, folder: Path) -> set[int]:
    """Gateways that have the access log open."""
    with contextlib.closing(server.connect()) as connection:
        server.predict(connection)
    file = (folder / "access.jsonl").resolve()
    return {
        pid
        for pid in server.gateways.values()
        if any(one.resolve() == file for one in Path(f"/proc/{pid}/fd").iterdir())
    }
