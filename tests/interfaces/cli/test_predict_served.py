"""``modelwright predict`` with a served model: rows in, answers beside them out, whole or not at all."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from modelwright.core.prediction import PredictionRecord
from modelwright.interfaces.cli import main
from modelwright.testing.runner import FunctionRunners

ROWS = "age,visits,member,city\n" + "".join(
    f"{20 + n}.5,{n},{n % 2 == 0},{'' if n == 3 else 'Bern'}\n" for n in range(7)
)


@pytest.fixture
def people(serve, people_package, tmp_path, monkeypatch):
    """A server of "people", named by the environment, and rows for it in the current folder."""
    server = serve(people_package, authenticate=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELWRIGHT_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("MODELWRIGHT_TOKEN", "mw_predictor")
    Path("rows.csv").write_text(ROWS)
    return server


def error(capsys, words):
    code = main(words)
    return code, capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.csv", "out.json", "out.jsonl", "out.parquet"])
def test_a_file_of_rows_becomes_a_file_of_rows_and_answers(people, name, capsys):
    assert main(["predict", "people", "@rows.csv", "--output", name, "--batch", "3", "--concurrency", "2"]) == 0
    assert capsys.readouterr().out == ""
    found = duckdb.sql(f"select * from '{name}'")
    assert found.columns[:7] == ["age", "visits", "member", "city", "prediction_id", "prediction_row", "model_version"]
    rows = found.fetchall()
    assert [row[0] for row in rows] == [20.5 + n for n in range(7)] == [row[7] for row in rows]
    assert [row[5] for row in rows] == [0, 1, 2, 0, 1, 2, 0]
    assert [row[10] for row in rows] == ["Bern"] * 3 + ["nowhere"] + ["Bern"] * 3
    # The ids are those of the prediction log, so that ground truth can be joined.
    assert {row[4] for row in rows} == {record.prediction_id for record in people.records(3, PredictionRecord)}


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
def test_rows_are_read_from_every_kind_of_file_and_from_standard_input(people, kind, capsys, monkeypatch):
    if kind != "csv":
        options = {"json": "(format json, array true)", "jsonl": "(format json)", "parquet": ""}[kind]
        duckdb.sql(f"copy (select * from 'rows.csv') to 'rows.{kind}' {options}")
    assert main(["predict", "people", f"rows.{kind}", "--json"]) == 0
    from_file = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(Path(f"rows.{kind}").read_bytes())))
    assert main(["predict", "people", "-", "--json"]) == 0
    piped = json.loads(capsys.readouterr().out)
    assert piped["visits_out"] == from_file["visits_out"] == list(range(7))
    assert piped["city_out"] == from_file["city_out"]


def test_one_row_as_json_is_answered_on_the_terminal(people, capsys):
    row = '{"age": 30.5, "visits": 2, "member": true, "city": null}'
    assert main(["predict", "people", row]) == 0
    out = capsys.readouterr().out
    assert "nowhere" in out
    assert "prediction_id" in out
    assert main(["predict", "people", row, "--version", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model_version"] == ["1"]


def test_tensors_as_json_are_answered_by_a_model_without_columns(serve, sum_package, capsys):
    url = f"http://127.0.0.1:{serve(sum_package()).port}"
    assert main(["predict", "total", '{"X": [[1, 2, 3], [4, 5, 6]]}', "--url", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == [6.0, 15.0]


def test_errors_name_the_rows_and_leave_no_file(people, capsys):
    Path("rows.csv").write_text(ROWS + "30.5,1.5,True,Bern\n")
    code, said = error(capsys, ["predict", "people", "rows.csv", "-o", "out.csv", "--batch", "4"])
    assert code == 2
    assert "[features.not-whole]" in said
    assert "Rows 5 to 8" in said
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["nobody", "rows.csv"], 2, "serve.unknown-model"),
        (["people", "rows.csv", "--version", "9"], 2, "serve.unknown-version"),
        (["people", "rows.csv", "--token", "mw_wrong"], 4, "http.unknown-token"),
        (["people", "rows.csv", "--url", "http://127.0.0.1:9", "--timeout", "5"], 5, "client.unreachable"),
        (["people", "rows.csv", "--url", "not a url"], 2, "client.bad-url"),
        (["people", "none.csv"], 2, "cli.missing-file"),
        (["people", '{"age": 1}'], 2, "features.missing-column"),
        (["people", "{"], 2, "predict.bad-rows"),
    ],
)
def test_what_cannot_be_done_says_why_with_its_exit_code(people, capsys, words, code, what):
    found, said = error(capsys, ["predict", *words])
    assert (found, f"[{what}]" in said) == (code, True), said
    assert "Traceback" not in said


def test_who_gives_no_token_is_told_where_a_command_takes_it(people, capsys, monkeypatch):
    monkeypatch.delenv("MODELWRIGHT_TOKEN")
    code, said = error(capsys, ["predict", "people", "rows.csv"])
    assert code == 4
    assert "[http.no-token]" in said
    assert "--token or MODELWRIGHT_TOKEN" in said


def test_empty_standard_input_is_bad_input(people, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b" \n")))
    assert error(capsys, ["predict", "people", "-"])[0] == 2


def test_the_token_is_not_shown_among_the_settings(monkeypatch, capsys):
    monkeypatch.setenv("MODELWRIGHT_TOKEN", "mw_secret")
    assert main(["settings", "--json"]) == 0
    assert "mw_secret" not in capsys.readouterr().out


def test_an_interrupt_leaves_the_old_file_as_it_was_and_no_other(serve, function_package, tmp_path):
    package, run = function_package()
    entered, release = threading.Event(), threading.Event()

    def slow(inputs):
        if len(inputs["x"]) > 2:
            entered.set()
            release.wait(60)
        return run(inputs)

    server = serve(package, loader=FunctionRunners({package.digest: slow}), aside=True)
    (tmp_path / "rows.csv").write_text("x\n" + "1.5\n" * 12)
    (tmp_path / "out.csv").write_text("old")
    words = [
        "predict",
        "times",
        "rows.csv",
        "-o",
        "out.csv",
        "--batch",
        "4",
        "--url",
        f"http://127.0.0.1:{server.port}",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "modelwright", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        assert entered.wait(60)
        os.kill(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    finally:
        release.set()
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".csv")) == ["out.csv", "rows.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"
