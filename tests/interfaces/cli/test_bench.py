"""`modelwright bench` end to end: a real server for a second or two."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from modelwright.adapters.stores.package_files import write_zip
from modelwright.interfaces.cli import main
from modelwright.interfaces.cli.app import cli
from modelwright.interfaces.cli.bench_html import page
from modelwright.interfaces.cli.bench_report import Report, plot, setup
from modelwright.interfaces.cli.bench_run import _apply, _print
from modelwright.wiring import serve_alone

SHORT = ("--seconds", "1", "--rounds", "1", "--no-pin", "--generators", "1")


@pytest.fixture
def packed(tmp_path: Path, sum_package, monkeypatch) -> Path:
    monkeypatch.setenv("MODELWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_zip(sum_package(), tmp_path / "total.mw")
    return tmp_path / "total.mw"


def bench(capsys, *words) -> dict:
    code = main(["bench", *SHORT, *map(str, words), "--json"])
    body = json.loads(capsys.readouterr().out)
    body["exit"] = code
    return body


def test_a_package_is_served_loaded_and_its_answers_checked(packed, capsys, tmp_path):
    told = bench(capsys, "--package", packed, "--connections", "1,4", "--html", tmp_path / "r.html")
    assert told["exit"] == 0
    assert [one["connections"] for one in told["loads"]] == [1, 4]
    for one in told["loads"]:
        assert one["answers"] > 10
        assert one["errors"] == {}
        assert 0 < one["p50"]["median"] <= one["p99"]["median"] <= one["most"]["median"]
        assert one["requests_per_run"] >= 1
        assert one["server_cores"] > 0
    assert told["answers"]["compared"] > 0
    assert told["answers"]["wrong"] == 0
    assert told["limits"]
    written = (tmp_path / "r.html").read_text()
    assert written.count("<svg") == 1
    assert "http://www.w3.org" in written
    assert "<script src" not in written


def test_the_tls_and_the_grpc_address_of_the_users_server_are_not_those_of_benchs_own(packed, capsys, monkeypatch):
    monkeypatch.setenv("MODELWRIGHT_TLS_CERTIFICATE", "/nowhere.pem")
    monkeypatch.setenv("MODELWRIGHT_GRPC", "127.0.0.1:1")
    told = bench(capsys, "--package", packed, "--connections", "2")
    assert told["exit"] == 0
    assert told["settings"]["workers"] == 1


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_open_loop_in_binary_over_either_protocol(packed, capsys, protocol):
    told = bench(
        capsys,
        "--package",
        packed,
        "--rate",
        "100",
        "--binary",
        "--rows",
        7,
        "--protocol",
        protocol,
        "--connections",
        4,
    )
    assert told["exit"] == 0
    (one,) = told["loads"]
    assert one["latency_from"] == "due"
    assert one["errors"] == {}
    assert 50 < one["rate"]["median"] < 150
    assert told["answers"]["compared"] > 0
    assert told["answers"]["wrong"] == 0


def test_own_rows_are_sent_and_their_answers_checked(packed, capsys, tmp_path, sum_package):
    write_zip(sum_package(features=("a", "b", "c")), packed)
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b,c\n1,2,3\n4.5,5,6\n")
    told = bench(capsys, "--package", packed, "--data", rows, "--connections", "2")
    assert "rows.csv" in told["asked"]
    assert told["answers"]["compared"] > 0
    assert told["answers"]["wrong"] == 0


def test_a_capacity_is_searched_within_the_time(packed, capsys):
    began = time.monotonic()
    told = bench(capsys, "--package", packed, "--target-p99-ms", "1000", "--connections", "8", "--seconds", "3")
    assert time.monotonic() - began < 60
    assert told["exit"] in {0, 3}
    assert told["capacity"]["trials"]
    assert told["capacity"]["target_p99_ms"] == 1000


def test_a_target_that_nothing_keeps_is_a_finding(packed, capsys):
    told = bench(capsys, "--package", packed, "--target-p99-ms", "0.01", "--connections", "8")
    assert told["exit"] == 3
    assert told["capacity"]["rate"] == 0


def test_a_slow_capacity_prints_its_table_for_a_person(packed, capsys):
    assert main(["bench", "--package", str(packed), "--connections", "2", *SHORT]) == 0
    said = capsys.readouterr()
    assert "2 connections" in said.out
    assert "when it was sent" in said.out
    assert "round 1 of 1" in said.err


def test_settings_are_tried_side_by_side_and_none_is_applied_that_is_not_better(packed, capsys, tmp_path):
    told = bench(capsys, "--package", packed, "--tune", "--apply", "--connections", "4")
    assert told["exit"] == 0
    assert told["tuned"][0]["settings"] == {}
    assert told["tuned"][0]["rate_ratio"] == 1.0
    applied = (tmp_path / "modelwright.yaml").exists()
    assert applied == bool(told["chosen"])
    if applied:
        assert main(["bench", "--undo", "--json"]) == 0
    assert not (tmp_path / "modelwright.yaml").exists()


@pytest.fixture
def running(tmp_path, sum_package):
    """A gateway of its own process, as somebody else runs it: (url, token)."""
    home = tmp_path / "theirs"
    token = serve_alone(sum_package(), home)
    command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", str(home), "--http", "127.0.0.1:0"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("ready"), (tmp_path / "log").read_text()
        yield line.split()[1], token
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def test_a_server_that_runs_is_asked_with_rows_invented_from_its_metadata(packed, running, capsys, tmp_path):
    url, token = running
    (tmp_path / "token").write_text(f"{token}\n")
    told = bench(capsys, "total", "--url", url, "--token", f"@{tmp_path / 'token'}", "--connections", "2")
    assert told["exit"] == 0
    assert "invented" in told["asked"]
    assert told["loads"][0]["errors"] == {}
    assert told["limits"][-1]["kind"] == "unknown"


def test_a_wrong_token_and_an_unknown_model_are_said_before_anything_is_loaded(packed, running, capsys):
    url, token = running
    told = bench(capsys, "total", "--url", url, "--token", "mw_wrong")
    assert (told["exit"], told["error"]["code"]) == (4, "bench.bad-token")
    told = bench(capsys, "totall", "--url", url, "--token", token)
    assert (told["exit"], told["error"]["code"]) == (2, "bench.unknown-model")


@pytest.mark.parametrize(
    ("words", "code", "exits"),
    [
        (["m", "--url", "http://127.0.0.1:1"], "bench.no-server", 5),
        (["m", "--url", "ftp://x"], "bench.bad-url", 2),
        ([], "bench.no-model", 2),
        (["m"], "register.unknown-model", 2),
        (["m", "--package", "none.mw"], "cli.missing-file", 2),
        (["m", "--connections", "many"], "bench.bad-numbers", 2),
        (["m", "--apply"], "cli.usage", 2),
        (["m", "--url", "http://127.0.0.1:1", "--tune"], "cli.usage", 2),
        (["m", "--rate", "5", "--target-p99-ms", "5"], "cli.usage", 2),
        (["--undo"], "project.nothing-to-undo", 2),
    ],
)
def test_what_cannot_be_measured_is_said(packed, capsys, words, code, exits):
    told = bench(capsys, *words)
    assert (told["error"]["code"], told["exit"]) == (code, exits)


def runs(pid):
    """A process that has ended and that nobody has fetched runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_interrupted_bench_says_what_it_knows_and_leaves_no_process(packed, tmp_path):
    command = [sys.executable, "-m", "modelwright", "bench", "--package", str(packed), "--seconds", "600", "--json"]
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen([*command, "--connections", "2"], stdout=subprocess.PIPE, stderr=err, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while len(children.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    ours = [int(pid) for pid in children.read_text().split()]
    process.send_signal(signal.SIGINT)
    told = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 130
    assert told["interrupted"]
    deadline = time.monotonic() + 20
    while any(map(runs, ours)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(runs, ours))


def test_the_command_that_repeats_it_has_no_token():
    assert "secret" not in setup(["bench", "m", "--token", "secret"])["command"]
    assert "secret" not in setup(["bench", "m", "--token=secret"])["command"]


def a_load(rate, p50, p99):
    return {"rate": {"median": rate}, "p50": {"median": p50}, "p99": {"median": p99}}


def test_the_plot_orders_loads_by_rate_and_draws_p50_full_and_p99_light():
    lines = plot([a_load(2000, 2, 20), a_load(100, 1, 2)]).splitlines()
    assert [line.split()[0] for line in lines] == ["100/s", "2,000/s"]
    assert lines[1].count("█") > lines[0].count("█")
    assert lines[1].count("░") > lines[0].count("░")


def test_the_html_report_escapes_what_it_is_given(packed, capsys):
    told = bench(capsys, "--package", packed, "--connections", "1")
    told.pop("exit")
    text = page(told | {"model": "<script>alert(1)</script>", "command": "modelwright </script>"})
    assert "<script>alert" not in text
    assert "modelwright </script>" not in text


def test_what_is_applied_counts_from_then_on_and_its_former_values_are_told(packed, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELWRIGHT_THREADS", "1")
    told = {"model": "total", "asked": "", "server": ""}
    report = Report(setup([]) | told, chosen={"workers": 2, "threads": 2})
    with cli.make_context("modelwright", [], resilient_parsing=True):
        _print(report, _apply(report), None, as_json=False)
    said = capsys.readouterr().out
    assert "workers was not set there" in said
    assert "MODELWRIGHT_THREADS is set in the environment" in said
    assert main(["settings", "--json"]) == 0
    values = {row["name"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert (values["workers"], values["threads"]) == ("2", "1")
    assert main(["bench", "--undo"]) == 0
    assert not (tmp_path / "modelwright.yaml").exists()


def test_a_server_that_is_started_reads_the_project_file_that_was_named(packed, tmp_path):
    named = tmp_path / "elsewhere.yaml"
    named.write_text("settings:\n  max_body_bytes: 100\n")
    command = [
        sys.executable,
        "-m",
        "modelwright",
        "--project",
        str(named),
        "serve",
        "--package",
        str(packed),
        "--no-auth",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--http", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("ready"), (tmp_path / "log").read_text()
        asked = urllib.request.Request(f"{line.split()[1]}/v2/models/total/infer", data=b" " * 200, method="POST")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(asked, timeout=30)
        assert caught.value.code == 413
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
