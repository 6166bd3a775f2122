"""A real gateway over a folder of packages: loading and unloading, following, and many models in little memory."""

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from modelwright.adapters.stores.package_files import write_zip

PATIENCE = 60.0


def until(happened):
    """Wait for what goes on beside us."""
    end = time.monotonic() + PATIENCE
    while not (result := happened()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return result


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Gateway:
    """A gateway process over a folder."""

    def __init__(self, home, models, *arguments, **environment):
        self.errors = home.with_suffix(".log")
        command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", home, "--http", "127.0.0.1:0"]
        with self.errors.open("wb") as errors:
            self.popen = subprocess.Popen(
                list(map(str, [*command, "--models", models, "--no-auth", *arguments])),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **{f"MODELWRIGHT_{name.upper()}": value for name, value in environment.items()}},
            )
        self.http = ""
        for line in self.popen.stdout:
            if match := re.match(r"ready http://(\S+)", line):
                self.http = match[1]
                break

    def ask(self, connection, model, value, path=""):
        tensor = {"name": "X", "shape": [1, 1], "datatype": "FP32", "data": [value]}
        connection.request("POST", f"/v2/models/{model}{path}/infer", json.dumps({"inputs": [tensor]}))
        answer = connection.getresponse()
        body = json.loads(answer.read())
        return body["outputs"][0]["data"][0] if answer.status == 200 else (answer.status, body)

    def connect(self):
        return http.client.HTTPConnection(self.http, timeout=PATIENCE)

    def resident(self):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.popen.pid}/status").read_text())[1]) * 1024

    def figures(self):
        connection = self.connect()
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return {name: float(value) for name, value in re.findall(r"^(modelwright\S+) (\S+)$", text, re.MULTILINE)}

    def stop(self):
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(PATIENCE)


@pytest.fixture
def serve(tmp_path):
    started = []

    def start(*arguments, **environment):
        gateway = Gateway(tmp_path / "home", tmp_path / "models", *arguments, **environment)
        started.append(gateway)
        return gateway

    (tmp_path / "models").mkdir()
    yield start
    for gateway in started:
        if gateway.popen.poll() is None:
            assert gateway.stop() == 0


@pytest.fixture
def put(tmp_path):
    """``put(package, name)`` into the folder."""

    def write(package, name=""):
        path = tmp_path / "models" / (name or f"{package.name}.mw")
        path.parent.mkdir(exist_ok=True)
        write_zip(package, path)
        return path

    return write


def states(index):
    return {(row["name"], row["version"]): row["state"] for row in index}


def states_in_memory(gateway):
    """The models that hold memory."""
    connection = gateway.connect()
    connection.request("GET", "/v2/models/stats")
    told = json.loads(connection.getresponse().read())["model_stats"]
    return {one["name"] for one in told if "memory_usage" in one}


def settled(gateway):
    """What the process holds once that does not fall any more."""
    seen = [gateway.resident()]

    def steady():
        seen.append(gateway.resident())
        return len(seen) > 20 and min(seen[-20:]) >= 0.999 * seen[-21]

    until(steady)
    return seen[-1]


def over_grpc(index):
    return {(row.name, row.version): row.state for row in index.models}


def test_models_are_loaded_and_unloaded_with_one_verdict_over_http_and_grpc(serve, put, heavy_package):
    for name in ("a", "b"):
        put(heavy_package(name, 2.0, 100))
    put(heavy_package("b", 5.0, 100), "b/2.mw").with_name("1.mw").write_bytes(b"no package")
    address = f"127.0.0.1:{free_port()}"
    gateway = serve("--grpc", address)
    connection = gateway.connect()
    with triton.InferenceServerClient(gateway.http) as rest, triton_grpc.InferenceServerClient(address) as grpc:
        assert "model_repository" in rest.get_server_metadata()["extensions"]
        first = {("a", "1"): "READY", ("b", "1"): "READY", ("b", "2"): "READY"}
        assert states(rest.get_model_repository_index()) == over_grpc(grpc.get_model_repository_index()) == first
        assert gateway.ask(connection, "b", 1.0) == 5.0
        assert gateway.ask(connection, "b", 1.0, "/versions/1") == 2.0
        for way, other in ((rest, grpc), (grpc, rest)):
            way.unload_model("a")
            assert not rest.is_model_ready("a")
            assert states(rest.get_model_repository_index())["a", "1"] == "UNAVAILABLE"
            assert over_grpc(grpc.get_model_repository_index())["a", "1"] == "UNAVAILABLE"
            assert gateway.ask(connection, "a", 1.0)[0] == 404
            assert gateway.ask(connection, "b", 1.0) == 5.0
            other.load_model("a")
            assert gateway.ask(connection, "a", 1.0) == 2.0
        for way in (rest, grpc):
            for change in (way.load_model, way.unload_model):
                with pytest.raises(InferenceServerException, match="'nobody' is not served here"):
                    change("nobody")
        connection.request("POST", "/v2/repository/index", '{"ready": true}')
        assert states(json.loads(connection.getresponse().read())) == first


def test_a_load_that_fails_says_why_over_both_protocols_and_what_was_served_stays(serve, put, sum_package):
    put(sum_package("total"))
    address = f"127.0.0.1:{free_port()}"
    gateway = serve("--grpc", address)
    put(sum_package("total", bias=1.0, golden_error=1.0))
    with triton.InferenceServerClient(gateway.http) as rest, triton_grpc.InferenceServerClient(address) as grpc:
        for way in (rest, grpc):
            with pytest.raises(InferenceServerException, match="does not reproduce its golden answers"):
                way.load_model("total")
        (row,) = rest.get_model_repository_index()
        assert row["state"] == "READY"
        assert "golden answers" in row["reason"]
        put(sum_package("total", bias=1.0))
        rest.load_model("total")
        assert rest.get_model_repository_index()[0]["reason"] == ""


def test_a_model_without_a_jail_is_served_from_a_folder_only_where_that_is_allowed(
    serve, put, heavy_package, code_package
):
    put(heavy_package("a", 2.0, 100))
    put(code_package("def predict(inputs): return {'total': inputs['X'][:, :1]}", "free", isolation="off"))
    gateway = serve()
    with triton.InferenceServerClient(gateway.http) as rest:
        index = {row["name"]: row for row in rest.get_model_repository_index()}
        assert index["a"]["state"] == "READY"
        assert index["free"]["state"] == "UNAVAILABLE"
        assert "without a jail, which is not allowed here" in index["free"]["reason"]
    assert gateway.stop() == 0
    allowed = serve(native_isolation="off")
    with triton.InferenceServerClient(allowed.http) as rest:
        assert rest.is_model_ready("free")


def test_what_changes_in_the_folder_is_followed_under_load_and_fails_no_request(serve, put, heavy_package):
    put(heavy_package("m", 1.0, 100))
    put(heavy_package("n", 1.0, 100))
    gateway = serve()
    wrong, seen, stop = [], set(), threading.Event()

    def client():
        connection = gateway.connect()
        while not stop.is_set():
            answer = gateway.ask(connection, "m", 1.0)
            (seen.add if isinstance(answer, float) else wrong.append)(answer)

    clients = [threading.Thread(target=client) for _ in range(3)]
    for one in clients:
        one.start()
    try:
        for factor in (2.0, 3.0, 4.0):
            path = put(heavy_package("m", factor, 100))
            until(lambda factor=factor: factor in seen or wrong)
        content = path.read_bytes()
        for end in (10, len(content) // 2, len(content) - 1):  # overwritten in place, slowly
            path.write_bytes(content[:end])
            count = time.monotonic() + 0.6
            until(lambda count=count: time.monotonic() > count)
        path.write_bytes(content)
        path.with_name("n.mw").unlink()
        connection = gateway.connect()
        until(lambda: gateway.ask(connection, "n", 1.0)[0] == 404 if gateway.ask(connection, "n", 1.0) != 1.0 else 0)
    finally:
        stop.set()
        for one in clients:
            one.join()
    assert wrong == []
    assert seen == {1.0, 2.0, 3.0, 4.0}


def test_two_hundred_models_answer_within_a_budget_for_twenty(serve, put, heavy_package):
    models, one = 200, 2_500_000  # what each holds: its weights, and a copy of them that is packed for the processor
    for model in range(models):
        put(heavy_package(f"m{model}", model + 1.0, 30_000))
    idle = serve(memory_budget="1")
    nothing = idle.resident()
    idle.stop()
    gateway, budget = serve(memory_budget=str(20 * one)), 20 * one
    wrong, answered, most = [], [], 0

    def client(seed):
        connection, order = gateway.connect(), random.Random(seed)
        for model in order.sample(range(models), 100):
            answer = gateway.ask(connection, f"m{model}", 2.0)
            (answered if answer == 2.0 * (model + 1) else wrong).append(answer)

    clients = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
    for each in clients:
        each.start()
    while any(each.is_alive() for each in clients):
        most = max(most, gateway.resident())
        time.sleep(0.01)
    assert wrong == []
    assert len(answered) == 400
    figures = gateway.figures()
    assert figures["modelwright_model_bytes"] <= budget
    assert 10 <= figures["modelwright_models_in_memory"] <= 40
    assert most - nothing < 2 * budget  # all of them would hold ten times the budget


def test_a_herd_of_requests_for_a_model_on_disk_causes_one_load(serve, put, heavy_package):
    for name in "ab":
        put(heavy_package(name, 2.0, 100_000))
    gateway = serve(memory_budget="15M")
    inside = states_in_memory(gateway)
    (cold,) = {"a", "b"} - inside
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(gateway.ask(gateway.connect(), cold, 1.0))) for _ in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [2.0] * 100
    figures = gateway.figures()
    assert figures[f'modelwright_model_loads_total{{model="{cold}",outcome="loaded"}}'] == 1
    assert states_in_memory(gateway) == {cold}


def test_unloading_gives_the_memory_back(serve, put, heavy_package):
    names = [f"m{number}" for number in range(8)]
    for name in names:
        put(heavy_package(name, 1.0, 200_000))
    gateway = serve()
    with triton.InferenceServerClient(gateway.http) as client:

        def all_of_them(change):
            for name in names:
                change(name)

        all_of_them(client.unload_model)
        until(lambda: gateway.figures()["modelwright_models_in_memory"] == 0)
        for _ in range(3):
            before = settled(gateway)
            all_of_them(client.load_model)
            full = gateway.resident()
            all_of_them(client.unload_model)
            until(lambda before=before: gateway.resident() <= 1.05 * before)
            assert full > 1.5 * before


def test_pinned_models_that_do_not_fit_are_refused_at_the_start(tmp_path, serve, put, heavy_package):
    for name in ("a", "b"):
        put(heavy_package(name, 1.0, 100_000))
    gateway = serve(memory_budget="1M", pinned="a,b")
    assert gateway.popen.wait(PATIENCE) != 0
    assert "The pinned models need" in gateway.errors.read_text()
