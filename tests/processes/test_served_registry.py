"""What a client meets at ``modelwright serve``: the supervisor, its gateway and its control process over a registry."""

import json
import re
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from modelwright import settings as settings_module
from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.version import Lineage
from modelwright.deploy import plan
from modelwright.lifecycle.rollout import put_in_force
from modelwright.wiring import platform as wired

PATIENCE = 60.0
ACT = Act("tester", "a test")


def until(happened):
    """Wait for what goes on beside us."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def platform(tmp_path):
    """The platform as the commands wire it, over an empty data directory."""
    with wired(settings_module.load({"home": tmp_path / "home"})) as platform:
        yield platform


@pytest.fixture
def register(platform):
    """``register(package)``: the next version of its model."""

    def add(package):
        digest = package_codec.store(package, platform.blobs.put)
        return platform.versions.register(package.name, digest, lineage=Lineage(), verdict={"passed": True}, act=ACT)

    return add


@pytest.fixture
def start(tmp_path):
    """``start()``: `modelwright serve`; gives the address of the data plane and the first token."""
    started = []

    def serve():
        said, logged = tmp_path / "said", tmp_path / "logged"
        command = [sys.executable, "-m", "modelwright", "--home", str(tmp_path / "home"), "serve"]
        with said.open("wb") as out, logged.open("wb") as errors:
            process = subprocess.Popen(
                [*command, "--http", "127.0.0.1:0", "--control", "127.0.0.1:0"], stdout=out, stderr=errors, cwd=tmp_path
            )
        started.append(process)
        until(lambda: process.poll() is not None or "Ctrl-C" in said.read_text())
        assert process.poll() is None, logged.read_text()
        facts = json.loads((tmp_path / "home" / "run" / "server.json").read_text())
        return facts["http"], next(word for word in said.read_text().split() if word.startswith("mw_"))

    yield serve
    for process in started:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def total(client, token, rows, **more):
    """The version that answered, and its sums."""
    given = triton.InferInput("X", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows, binary_data=more.pop("binary", True))
    answer = client.infer("total", [given], headers={"Authorization": f"Bearer {token}"}, **more)
    return int(answer.get_response()["model_version"]), answer.as_numpy("total").ravel().tolist()


def test_tritonclient_works_unmodified_against_modelwright_serve(platform, register, start, sum_package):
    platform.routes.set_route(plan.all_at_once(register(sum_package(bias=0.5))), act=ACT)
    address, token = start()
    headers = {"Authorization": f"Bearer {token}"}
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    with triton.InferenceServerClient(address) as client:
        until(client.is_server_ready)
        assert client.is_server_live()
        assert client.is_model_ready("total")
        assert client.is_model_ready("total", "1")
        assert not client.is_model_ready("nobody")
        assert client.get_server_metadata(dict(headers))["name"] == "modelwright"
        metadata = client.get_model_metadata("total", headers=dict(headers))
        assert metadata["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 3]}]
        assert metadata["versions"] == ["1"]
        for packed in (None, "gzip", "deflate"):
            for binary in (True, False):
                asked = {"request_compression_algorithm": packed, "response_compression_algorithm": packed}
                for outputs in (None, [triton.InferRequestedOutput("total", binary)]):
                    assert total(client, token, rows, binary=binary, outputs=outputs, **asked) == (1, [3.5, 12.5])
        assert total(client, token, rows[:0]) == (1, [])
        with pytest.raises(InferenceServerException, match="not served here"):
            client.get_model_metadata("nobody", headers=dict(headers))
        with pytest.raises(InferenceServerException, match=r"shape \[2, 2\] where the model takes \[-1, 3\]"):
            total(client, token, rows[:, :2].copy())
        with pytest.raises(InferenceServerException, match="unknown, revoked or expired"):
            total(client, "mw_wrong", rows)
        with pytest.raises(InferenceServerException, match="A token is needed"):
            client.get_server_metadata()


def test_a_prediction_from_the_models_page_goes_to_the_data_plane_as_the_visitor(
    platform, register, start, sum_package, tmp_path
):
    platform.routes.set_route(plan.all_at_once(register(sum_package(bias=0.5))), act=ACT)
    address, token = start()
    with triton.InferenceServerClient(address) as client:
        until(client.is_server_ready)
    pages = json.loads((tmp_path / "home" / "run" / "server.json").read_text())["control"]
    with httpx.Client(base_url=f"http://{pages}", follow_redirects=True) as browser:
        page = browser.post("/login?next=/models/total", data={"token": token}).text
        form_token = re.search(r'name="form_token" value="([^"]*)"', page)[1]
        assert ">[0.0,1.0,2.0]</textarea>" in page
        sent = {"form_token": form_token, "version": "1", "in:X:": "[1, 2, 3]"}
        assert "6.5" in browser.post("/models/total/try", data=sent).text
    (count,) = platform.log.arms("total", since=0.0)
    assert (count.version, count.role, count.ok) == ("1", "pinned", 1)


class Client(threading.Thread):
    """Asks without a pause; notes every failure and every answer of a version that was not in force."""

    def __init__(self, number, address, token, allowed, stop):
        super().__init__()
        self.number, self.address, self.token, self.allowed, self.stop = number, address, token, allowed, stop
        self.seen, self.wrong = {}, []

    def run(self):
        with triton.InferenceServerClient(self.address) as client:
            while not self.stop.is_set():
                rows, before = np.full((1, 3), self.number, np.float32), self.allowed["versions"]
                try:
                    version, sums = total(client, self.token, rows)
                except (InferenceServerException, OSError) as error:
                    self.wrong.append(str(error))
                    return
                if version not in before | self.allowed["versions"] or sums != [3 * self.number + 100 * version]:
                    self.wrong.append((version, sums, before, self.allowed["versions"]))
                self.seen[version] = self.seen.get(version, 0) + 1


def test_a_promotion_by_the_real_command_is_served_at_once_and_fails_no_request(
    platform, register, start, sum_package, tmp_path
):
    for number in (1, 2):
        register(sum_package(bias=100.0 * number))
    address, token = start()

    def promote(version):
        command = [sys.executable, "-m", "modelwright", "--home", str(tmp_path / "home"), "promote", "total", version]
        subprocess.run([*command, "--reason", "a test"], check=True, capture_output=True, cwd=tmp_path)

    promote("1")
    stop = threading.Event()
    with triton.InferenceServerClient(address) as client:
        until(lambda: client.is_model_ready("total"))
    clients = [Client(number, address, token, {"versions": {1, 2}}, stop) for number in range(4)]
    for client in clients:
        client.start()
    try:
        until(lambda: all(client.seen.get(1, 0) > 20 for client in clients))
        promote("2")
        counts = [dict(client.seen) for client in clients]
        until(lambda: all(client.seen.get(2, 0) > 20 for client in clients))
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert [note for client in clients for note in client.wrong] == []
    late = [client.seen[1] - count.get(1, 0) for client, count in zip(clients, counts, strict=True)]
    assert (
        max(late) <= 1
    )  # the command ends when the version is in force: only what was under way may be of the old one


def test_every_kind_of_route_change_under_load_fails_no_request(platform, register, start, sum_package):
    first, second, third = (register(sum_package(bias=100.0 * number)) for number in (1, 2, 3))
    routes = [
        plan.all_at_once(first),
        plan.all_at_once(first, [second]),
        plan.canary(first, second, 0.3),
        plan.canary(first, second, 0.7, [third]),
        plan.all_at_once(second, [first, third]),
        plan.canary(second, third, 0.5, [first, second]),
        plan.all_at_once(third),
        plan.all_at_once(first, [first]),
        plan.all_at_once(first),
    ]
    versions = [{int(arm.version) for arm in route.arms} for route in routes]
    began = time.time()
    platform.routes.set_route(routes[0], act=ACT)
    address, token = start()
    allowed, stop = {"versions": versions[0]}, threading.Event()
    with triton.InferenceServerClient(address) as client:
        until(client.is_server_ready)
    clients = [Client(number, address, token, allowed, stop) for number in range(4)]
    for client in clients:
        client.start()

    def answered():
        return sum(sum(client.seen.values()) for client in clients)

    def wrong():
        return [note for client in clients for note in client.wrong]

    try:
        for route, old, new in zip(routes[1:], versions, versions[1:], strict=False):
            count = answered()
            until(lambda count=count: answered() >= count + 60 or wrong())
            allowed["versions"] = old | new
            put_in_force(platform, route, act=ACT)
            allowed["versions"] = new
        count = answered()
        until(lambda: answered() >= count + 60 or wrong())
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert wrong() == []
    seen = {version: sum(client.seen.get(version, 0) for client in clients) for version in (1, 2, 3)}
    assert all(seen.values())
    until(lambda: sum(arm.ok for arm in platform.log.arms("total", since=began) if arm.role != "shadow") == answered())
    arms = platform.log.arms("total", since=began)
    assert {(arm.version, arm.role) for arm in arms} == {
        *((version, role) for version in "123" for role in ("champion", "shadow")), ("2", "canary"), ("3", "canary")
    }  # fmt: skip
    logged = {int(v): sum(arm.ok for arm in arms if arm.version == v and arm.role != "shadow") for v in "123"}
    assert logged == seen
    assert sum(arm.failed for arm in arms) == 0
