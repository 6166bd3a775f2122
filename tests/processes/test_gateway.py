import asyncio
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from modelwright.adapters.stores.local_blobs import LocalBlobs
from modelwright.adapters.stores.package_files import write_zip
from modelwright.adapters.targets.process import ProcessTarget
from modelwright.core import package_codec
from modelwright.core.errors import RefusedError
from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant
from modelwright.record.log import DuckLog

TOKEN = "mw_test"
GRANT = TokenGrant(hashlib.sha256(TOKEN.encode()).hexdigest(), "tester", "admin")
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Process:
    """A gateway process and what it printed up to its ready line."""

    def __init__(self, *arguments, pass_fds=()):
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "modelwright.processes.gateway", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
        )
        self.token = ""
        self.ready = False
        for line in self.popen.stdout:
            if line.startswith("token "):
                self.token = line.split()[1]
            if match := re.match(r"ready http://(\S+)", line):
                self.http, self.ready = match[1], True
                break

    @property
    def port(self):
        return int(self.http.rsplit(":", 1)[1])

    def stop(self, number=signal.SIGTERM):
        """Signal, wait, and give the exit status and stderr."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=60)
        return self.popen.returncode, errors


@pytest.fixture
def gateway(tmp_path):
    """``gateway(*arguments)``: a process on the test's own home, port 0."""
    started = []

    def start(*arguments, listen=True, **more):
        place = ("--http", "127.0.0.1:0") if listen else ()
        process = Process("--home", tmp_path / "home", *place, *arguments, **more)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop(signal.SIGKILL)


@pytest.fixture
def registry(tmp_path):
    """``registry(epoch, {model: package})``: packages into blobs, a table for them into the routing file."""
    blobs, target = LocalBlobs(tmp_path / "home" / "blobs"), ProcessTarget(tmp_path / "home" / "run")

    def publish(epoch, packages):
        routes = {}
        for model, package in packages.items():
            digest = package_codec.store(package, blobs.put)
            routes[model] = Route(model, (Arm(str(epoch), digest, 1.0, "champion"),))
        target.publish(RoutingTable(epoch, routes, (GRANT,)))
        return target

    return publish


def request_bytes(identity, values):
    tensor = {"name": "X", "shape": [1, 3], "datatype": "FP32", "data": values}
    body = json.dumps({"id": identity, "inputs": [tensor]}).encode()
    head = f"POST /v2/models/total/infer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def read_answer(reader):
    """Status, headers and JSON of one answer; None when the connection ended."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), headers, json.loads(await reader.readexactly(int(headers["content-length"])))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def until(happened):
    """Wait for what the clients beside us do."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_tritonclient_works_unmodified(gateway, sum_package, echo_package, tmp_path):
    write_zip(sum_package(), tmp_path / "total.mw")
    write_zip(echo_package("echo", {"text": ("BYTES", (-1, 1))}), tmp_path / "echo.mw")
    process = gateway("--package", tmp_path / "total.mw", "--package", tmp_path / "echo.mw")
    headers = {"Authorization": f"Bearer {process.token}"}  # copied below: the client adds to what it is given
    with triton.InferenceServerClient(process.http) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("total")
        assert not client.is_model_ready("nobody")
        assert client.get_server_metadata(headers)["name"] == "modelwright"
        assert client.get_model_metadata("total", headers=headers)["inputs"][0]["shape"] == [-1, 3]
        assert {row["name"] for row in client.get_model_repository_index(headers)} == {"total", "echo"}
        rows = np.arange(6, dtype=np.float32).reshape(2, 3)
        for binary_in in (True, False):
            for binary_out in (True, False, None):
                given = triton.InferInput("X", [2, 3], "FP32")
                given.set_data_from_numpy(rows, binary_data=binary_in)
                wanted = None if binary_out is None else [triton.InferRequestedOutput("total", binary_out)]
                for packed in (None, "gzip", "deflate"):
                    answer = client.infer(
                        "total",
                        [given],
                        outputs=wanted,
                        request_id="r1",
                        headers=dict(headers),
                        request_compression_algorithm=packed,
                        response_compression_algorithm=packed,
                    )
                    assert answer.as_numpy("total").tolist() == [[3.0], [12.0]]
                    assert answer.get_response()["id"] == "r1"
        text = triton.InferInput("text", [2, 1], "BYTES")
        text.set_data_from_numpy(np.array([["grün"], [""]], dtype=object))
        assert client.infer("echo", [text], headers=dict(headers)).as_numpy("text_out").tolist() == [
            ["grün".encode()],
            [b""],
        ]
        wrong = triton.InferInput("X", [1, 4], "FP32")
        wrong.set_data_from_numpy(np.zeros((1, 4), np.float32))
        with pytest.raises(InferenceServerException, match=r"shape \[1, 4\] where the model takes \[-1, 3\]"):
            client.infer("total", [wrong], headers=dict(headers))
        with pytest.raises(InferenceServerException, match="not served here"):
            client.infer("nobody", [given], headers=dict(headers))
        with pytest.raises(InferenceServerException, match="token"):
            client.infer("total", [given])
    status, _ = process.stop()
    assert status == 0


def test_swaps_under_load_fail_no_request_and_mix_no_version(gateway, registry, sum_package):
    bias = {epoch: 1000.0 * epoch for epoch in range(1, 8)}
    packages = {epoch: sum_package(bias=value) for epoch, value in bias.items()}
    target = registry(1, {"total": packages[1]})
    process = gateway()
    seen, failed, last = {}, [], []

    async def client(number, stop):
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        count = 0
        while not stop.is_set():
            count += 1
            writer.write(request_bytes(f"{number}-{count}", [number, count % 100, 0]))
            answer = await read_answer(reader)
            if answer is None or answer[0] != 200:
                failed.append(answer)
                return
            version = int(answer[1]["modelwright-version"])
            expected = number + count % 100 + bias[version]
            if answer[2]["outputs"][0]["data"] != [expected] or answer[2]["model_version"] != str(version):
                failed.append(answer)
            seen[version] = seen.get(version, 0) + 1
        last.append(version)
        writer.close()

    async def story():
        stop = asyncio.Event()
        clients = [asyncio.create_task(client(number, stop)) for number in range(8)]
        for epoch in range(2, 8):
            await until(lambda epoch=epoch: seen.get(epoch - 1, 0) >= 300 or failed)
            registry(epoch, {"total": packages[epoch]})
            assert await asyncio.to_thread(target.wait, epoch, timeout=30.0)
        await until(lambda: seen.get(7, 0) >= 300 or failed)
        stop.set()
        await asyncio.gather(*clients)

    asyncio.run(story())
    assert failed == []
    assert set(seen) == set(bias)
    assert set(last) == {7}
    assert sum(seen.values()) >= 2100


def test_after_a_kill_every_acknowledged_prediction_is_in_the_log(gateway, registry, sum_package, tmp_path):
    package = sum_package()
    registry(1, {"total": package})
    process = gateway()
    acknowledged = set()

    async def client(number):
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        count = 0
        while True:
            count += 1
            writer.write(request_bytes(f"{number}-{count}", [number, count, 0]))
            answer = await read_answer(reader)
            if answer is None:
                return
            assert answer[0] == 200
            acknowledged.add(answer[2]["id"])

    async def story():
        clients = [asyncio.create_task(client(number)) for number in range(16)]
        await until(lambda: len(acknowledged) >= 3000)
        process.popen.kill()
        await asyncio.gather(*clients)

    asyncio.run(story())
    log = DuckLog(tmp_path / "home" / "log")
    logged = set(log.joined("total", signature=package.signature)["prediction_id"].tolist())
    assert acknowledged <= logged


def test_a_package_that_cannot_be_loaded_keeps_the_old_table_and_tells_why(gateway, registry, sum_package):
    registry(1, {"total": sum_package()})
    process = gateway()
    target = registry(2, {"total": sum_package(golden_error=1.0)})
    with pytest.raises(RefusedError, match="golden"):
        target.wait(2, timeout=30.0)
    client = http.client.HTTPConnection(process.http)
    client.request("GET", "/v2/models/total", headers=HEADERS)
    assert json.loads(client.getresponse().read())["versions"] == ["1"]
    registry(3, {"total": sum_package(bias=3.0)})
    assert target.wait(3, timeout=30.0)
    client.request("GET", "/v2/models/total", headers=HEADERS)
    assert json.loads(client.getresponse().read())["versions"] == ["3"]
    client.close()


def test_one_damaged_package_at_the_start_takes_no_other_model_down(gateway, registry, sum_package):
    good = {name: sum_package(name=name) for name in ("first", "total")}
    target = registry(
        4, {"first": good["first"], "bad": sum_package(name="bad", golden_error=1.0), "total": good["total"]}
    )
    process = gateway()
    client = http.client.HTTPConnection(process.http)
    for model, status in (("first", 200), ("total", 200), ("bad", 404)):
        client.request("GET", f"/v2/models/{model}", headers=HEADERS)
        answer = client.getresponse()
        answer.read()
        assert answer.status == status
    client.close()
    with pytest.raises(RefusedError, match="golden"):
        target.wait(4, timeout=30.0)


def test_a_gateway_without_a_table_says_that_it_is_not_ready_and_never_that_a_token_is_wrong(
    registry, sum_package, tmp_path
):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", str(tmp_path / "home")]
        process = subprocess.Popen(
            [*command, "--fd", str(listener.fileno()), "--parent", str(os.getpid())],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )
        client = http.client.HTTPConnection(*listener.getsockname())

    def status(path, headers=HEADERS):
        client.request("GET", path, headers=headers)
        answer = client.getresponse()
        answer.read()
        return answer.status

    try:
        assert status("/v2/health/live") == 200
        for path in ("/v2/health/ready", "/v2/models/total/ready", "/v2", "/v2/models/total", "/metrics"):
            assert status(path) == 503
        registry(1, {"total": sum_package()})
        assert process.stdout.readline().startswith(b"ready http://")
        for path in ("/v2/health/ready", "/v2/models/total/ready", "/v2", "/v2/models/total", "/metrics"):
            assert status(path) == 200
        assert status("/v2", {}) == 401
    finally:
        client.close()
        process.terminate()
        process.communicate()


def test_a_stop_seals_the_log_and_exits_with_zero(gateway, registry, sum_package, tmp_path):
    registry(1, {"total": sum_package()})
    process = gateway()
    with socket.create_connection(("127.0.0.1", process.port)) as client:
        client.sendall(request_bytes("a", [1, 2, 3]))
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        status, errors = process.stop(signal.SIGINT)
    assert status == 0
    events = [json.loads(line)["event"] for line in errors.splitlines()]
    assert events[-2:] == ["stopping", "stopped"]
    assert [path.suffix for path in (tmp_path / "home" / "log").iterdir()] == [".seg"]
    assert not list((tmp_path / "home" / "run").glob("gateway-*.json"))
    assert ProcessTarget(tmp_path / "home" / "run").wait(99, timeout=0.0)


def test_a_supervisor_s_socket_is_served_and_its_death_is_followed(registry, sum_package, tmp_path):
    registry(1, {"total": sum_package()})
    script = (
        "import socket, subprocess, sys, os, time\n"
        "s = socket.create_server(('127.0.0.1', 0)); s.set_inheritable(True)\n"
        "p = subprocess.Popen([sys.executable, '-m', 'modelwright.processes.gateway', '--home', sys.argv[1], '--fd',"
        " str(s.fileno()), '--parent', str(os.getpid())], pass_fds=[s.fileno()])\n"
        "print(s.getsockname()[1], p.pid, flush=True)\n"
        "time.sleep(60)"
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "home")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    port, _pid = map(int, supervisor.stdout.readline().split())
    assert supervisor.stdout.readline().startswith(b"ready http://127.0.0.1:%d" % port)
    target = ProcessTarget(tmp_path / "home" / "run")
    assert target.live() == ["g0"]
    supervisor.kill()
    supervisor.communicate()
    deadline = time.monotonic() + 30
    while target.live() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert target.live() == []


def refusal(process):
    assert not process.ready
    status, errors = process.stop()
    assert "Traceback" not in errors
    return status, errors


def test_a_taken_port_is_said_so(gateway, sum_package, tmp_path):
    write_zip(sum_package(), tmp_path / "total.mw")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        status, errors = refusal(gateway("--package", tmp_path / "total.mw", "--http", place, listen=False))
    assert status == 2
    assert "serve.port-taken" in errors


def test_without_authentication_only_packages_on_loopback_are_served(gateway, sum_package, tmp_path):
    write_zip(sum_package(), tmp_path / "total.mw")
    open_to_all = gateway("--package", tmp_path / "total.mw", "--no-auth", "--http", "0.0.0.0:0", listen=False)
    for process in (open_to_all, gateway("--no-auth")):
        status, errors = refusal(process)
        assert status == 2
        assert "serve.no-auth-needs-loopback" in errors
    process = gateway("--package", tmp_path / "total.mw", "--no-auth")
    assert process.token == ""
    client = http.client.HTTPConnection(process.http)
    client.request("GET", "/v2/models/total")
    assert client.getresponse().status == 200
    client.close()


def test_a_package_that_is_none_is_said_so(gateway, tmp_path):
    (tmp_path / "noise.mw").write_bytes(os.urandom(100))
    status, errors = refusal(gateway("--package", tmp_path / "noise.mw"))
    assert status != 0
    assert "noise.mw" in errors
    status, errors = refusal(gateway("--package", tmp_path / "absent.mw"))
    assert status != 0
    assert "absent.mw" in errors


def test_a_data_directory_that_cannot_be_used_is_said_so(gateway, tmp_path):
    (tmp_path / "home").write_text("a file")
    status, errors = refusal(gateway())
    assert status == 2
    assert "settings.home-unusable" in errors


def test_models_of_a_registry_beyond_the_budget_answer_and_pinned_ones_that_do_not_fit_are_refused(
    gateway, registry, heavy_package, monkeypatch
):
    registry(1, {f"m{number}": heavy_package(f"m{number}", number + 1.0, 20_000) for number in range(12)})
    monkeypatch.setenv("MODELWRIGHT_MEMORY_BUDGET", "8M")  # each holds about 1.7 MB
    process = gateway()
    with triton.InferenceServerClient(process.http) as client:
        for number in (*range(12), *range(12)):
            given = triton.InferInput("X", [1, 1], "FP32")
            given.set_data_from_numpy(np.ones((1, 1), np.float32))
            answer = client.infer(f"m{number}", [given], headers=dict(HEADERS))
            assert answer.as_numpy("y").tolist() == [[number + 1.0]]
        told = client.get_model_repository_index(dict(HEADERS))
        assert {row["state"] for row in told} <= {"READY", "UNLOADING"}
        assert sum("not in memory" in row["reason"] for row in told) >= 6
    assert process.stop()[0] == 0
    monkeypatch.setenv("MODELWRIGHT_PINNED", ",".join(f"m{number}" for number in range(12)))
    status, errors = refusal(gateway())
    assert status == 5
    assert "serve.over-budget" in errors


def test_equal_requests_are_answered_from_the_cache_and_counted_by_the_statistics(
    gateway, registry, sum_package, monkeypatch
):
    registry(1, {"total": sum_package("total")})
    monkeypatch.setenv("MODELWRIGHT_CACHE_BYTES", "1M")
    monkeypatch.setenv("MODELWRIGHT_CACHE_MODELS", "total")
    with triton.InferenceServerClient(gateway().http) as client:
        for value in (1, 1, 2, 1):
            given = triton.InferInput("X", [1, 3], "FP32")
            given.set_data_from_numpy(np.full((1, 3), value, np.float32))
            answer = client.infer("total", [given], headers=dict(HEADERS))
            assert answer.as_numpy("total").tolist() == [[3.0 * value]]
        (told,) = client.get_inference_statistics("total", headers=dict(HEADERS))["model_stats"]
    stats = {name: figures["count"] for name, figures in told["inference_stats"].items()}
    assert (stats["success"], stats["cache_hit"], stats["cache_miss"]) == (4, 2, 2)
    assert told["execution_count"] == 2


def test_serving_imports_nothing_heavy():
    script = "import sys, modelwright.processes.gateway; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    heavy = {"pandas", "sklearn", "sqlalchemy", "duckdb", "scipy", "dbos", "alembic", "starlette", "onnx", "pyarrow"}
    assert {"onnxruntime", "httptools", "uvloop"} <= imported
    assert imported & (heavy | {"prometheus_client", "structlog", "rich", "httpx", "click"}) == set()


def test_the_serving_path_leaves_nothing_in_the_home_directory(sum_package, tmp_path):
    (tmp_path / "model.onnx").write_bytes(sum_package().read("model.onnx"))
    (tmp_path / "user").mkdir()
    script = (
        "import sys, time, numpy, modelwright.processes.gateway\n"
        "from modelwright.adapters.runners.sessions import open_session\n"
        "session = open_session(open(sys.argv[1], 'rb').read(), None, [('CPUExecutionProvider', {})])\n"
        "session.run(None, {'X': numpy.ones((1, 3), numpy.float32)})\n"
        "time.sleep(0.2)\n"
    )
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    command = [sys.executable, "-c", script, str(tmp_path / "model.onnx")]
    subprocess.run(command, env={**ours, "HOME": str(tmp_path / "user")}, check=True)
    assert list((tmp_path / "user").iterdir()) == []
