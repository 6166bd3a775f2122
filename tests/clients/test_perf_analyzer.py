"""NVIDIA's perf_analyzer, unmodified: it compares each answer with the right one while it measures."""

import csv
import http.client
import json
import os
import subprocess

import pytest

pytestmark = pytest.mark.clients
SUMS = {(1.5, 2.5, 3.5): 7.5, (4.5, 5.5, 6.5): 16.5}
# it stops before the last concurrency when a window holds no answer, as one does on a machine that stood still
QUICK = ("--measurement-interval", "250", "--stability-percentage", "1000", "--max-trials", "40")


def get(address, path):
    client = http.client.HTTPConnection(address, timeout=20)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else None
    finally:
        client.close()


def library(home, name, package):
    """Where a library lies that the binary is linked with: taken from the distribution's package if not installed."""
    installed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    if name in installed:
        return []
    if not (found := list(home.glob(f"usr/lib/*/{name}"))):
        subprocess.run(["apt-get", "--quiet", "download", package], cwd=home, check=False, timeout=120)
        for archive in home.glob(f"{package}_*.deb"):
            subprocess.run(["dpkg-deb", "--extract", archive, home], check=True)
        found = list(home.glob(f"usr/lib/*/{name}"))
    return [path.parent for path in found]


@pytest.fixture(scope="module")
def measure(environment, served, tmp_path_factory):
    """``measure(protocol, *flags)``: its rows, one for each concurrency; AssertionError with its words if it fails."""
    home = environment("perf_analyzer")
    folders = [*library(home, "libb64.so.0d", "libb64-0d"), *home.glob("lib/python*/site-packages/nvidia/*/lib")]
    environ = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, folders))}
    binary = home / "bin" / "perf_analyzer"
    started = subprocess.run([binary, "--version"], env=environ, capture_output=True, text=True, check=False)
    if "shared libraries" in started.stderr:
        pytest.skip(started.stderr.strip())
    report = tmp_path_factory.mktemp("perf_analyzer") / "report.csv"

    def run(protocol, *flags, model="total"):
        report.unlink(missing_ok=True)
        target = ["-m", model, "-i", protocol, "-u", getattr(served, protocol)]
        command = [binary, *target, *QUICK, "-f", report, *flags]
        done = subprocess.run(
            list(map(str, command)), env=environ, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return list(csv.DictReader(report.read_text().splitlines()))

    return run


@pytest.fixture(scope="module")
def batches(served):
    """The server says that the first dimension of the model's shapes is the rows."""
    config = get(served.http, "/v2/models/total/config")
    if config is None:
        pytest.skip("perf_analyzer asks for the model's configuration first, and this server answers 404")
    assert config["max_batch_size"] > 0  # with 0 it takes no batches and can compare no answers


@pytest.fixture(scope="module")
def data(batches, tmp_path_factory):
    """``data(right)``: the flags for rows with their right sums, or with a wrong one."""

    def write(*, right=True):
        path = tmp_path_factory.mktemp("data") / "data.json"
        rows = [{"X": {"content": row, "shape": [3]}} for row in SUMS]
        sums = [{"total": {"content": [value + (not right)], "shape": [1]}} for value in SUMS.values()]
        path.write_text(json.dumps({"data": rows, "validation_data": sums}))
        return "--input-data", path

    return write


WAYS = [("http",), ("http", "--async"), ("grpc",), ("grpc", "--async"), ("grpc", "--async", "--streaming")]


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_each_answer_is_right_at_every_concurrency(measure, data, served, way):
    rows = measure(*way, *data(), "--concurrency-range", "1:4")
    assert sorted(int(row["Concurrency"]) for row in rows) == [1, 2, 3, 4]
    assert all(float(row["Inferences/Second"]) > 0 for row in rows)
    if "statistics" in get(served.http, "/v2")["extensions"]:
        assert all(int(row["Server Compute Infer"]) > 0 for row in rows)


def test_it_would_have_noticed_a_wrong_answer(measure, data):
    with pytest.raises(AssertionError, match="doesn't match expected output"):
        measure("grpc", *data(right=False))


def test_it_pins_a_version_and_sends_json_batches_compressed_calls_and_text(measure, data, served):
    assert measure("http", *data(), "-x", "1")
    assert measure("http", *data(), "--input-tensor-format", "json", "--output-tensor-format", "json")
    assert measure("grpc", *data(), "--grpc-compression-algorithm", "gzip")
    assert measure("http", "-b", "4")
    assert measure("grpc", "-b", "4", "--async")
    whole = get(served.http, "/v2/models/echo/config")["max_batch_size"] == 0
    assert measure("grpc", "--string-length", "20", *(["--shape", "text:1,1"] * whole), model="echo")
