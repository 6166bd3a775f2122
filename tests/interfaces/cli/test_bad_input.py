"""Whatever is wrong with what was given: a clear word, the right exit code, never a traceback."""

import json
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import modelwright as mw
from modelwright.adapters.stores.package_files import open_path
from modelwright.interfaces.cli import main
from modelwright.interfaces.cli.output import clock_time, counted, shown

ROWS = "a,b,late\n" + "".join(f"{n / 50 - 1},{n % 7},{int(n > 50)}\n" for n in range(100))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELWRIGHT_HOME", str(tmp_path / "home"))
    Path("rows.csv").write_text(ROWS)
    return tmp_path


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    features = np.array([[n / 50 - 1, n % 7] for n in range(100)], dtype=np.float32)
    model = LogisticRegression().fit(features, np.arange(100) > 50)
    packed = mw.pack(model, name="tiny", examples={"a": features[:, 0], "b": features[:, 1]})
    return packed.save(tmp_path_factory.mktemp("package") / "tiny.mw")


@pytest.fixture(scope="module")
def graph_package(tmp_path_factory) -> Path:
    features = np.array([[n / 50 - 1, n % 7] for n in range(100)], dtype=np.float32)
    packed = mw.pack(LogisticRegression().fit(features, np.arange(100) // 50), name="graph", examples=features)
    return packed.save(tmp_path_factory.mktemp("package") / "graph.mw")


def refused(capsys, code: str, *words: str) -> str:
    """Run a command that must end as bad input with that error code; what it says."""
    assert main(list(words)) == 2
    said = capsys.readouterr()
    assert f"[{code}]" in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    return said.err


def release(artifact: str, data: str = "rows.csv", target: str = "late", name: str = "tiny") -> list[str]:
    return ["release", artifact, "--name", name, "--data", data, "--target", target]


def test_a_missing_model_file_is_answered_with_the_one_that_was_meant(folder, capsys):
    Path("model.joblib").write_bytes(b"x")
    assert "Did you mean model.joblib?" in refused(capsys, "cli.missing-file", *release("modl.joblib"))
    assert not (folder / "home").exists()


def test_a_file_in_a_folder_that_is_not_there_says_so(folder, capsys):
    assert "There is no folder nowhere" in refused(capsys, "cli.missing-file", *release("nowhere/model.joblib"))


def test_a_package_named_without_its_suffix_is_found_for_the_suggestion(folder, package, capsys):
    Path("churn.mw").write_bytes(package.read_bytes())
    assert "Did you mean churn.mw?" in refused(capsys, "cli.missing-file", "inspect", "churn")


@pytest.mark.parametrize("words", [release("."), ["watch", "compare", "--reference", ".", "--current", "rows.csv"]])
def test_a_directory_is_no_file(folder, capsys, words):
    refused(capsys, "cli.not-a-file", *words)


def test_a_bad_name_is_refused_before_anything_is_packed(folder, capsys):
    Path("model.joblib").write_bytes(b"x")
    refused(capsys, "register.bad-name", *release("model.joblib", name="Flight Delay"))
    assert not (folder / "home").exists()


def test_a_wrong_target_column_is_answered_with_the_one_that_was_meant(folder, package, capsys):
    words = ["check", str(package), "--data", "rows.csv", "--target", "lte"]
    assert "Did you mean 'late'?" in refused(capsys, "check.no-target", *words)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "source.empty"),
        (b"a,b,late\n", "source.empty"),
        (b"a,b,late\nZ\xfcrich,1,1\n", "source.unreadable"),
    ],
)
def test_rows_that_cannot_be_read_say_why(folder, package, capsys, content, code):
    Path("bad.csv").write_bytes(content)
    said = refused(capsys, code, "check", str(package), "--data", "bad.csv", "--target", "late")
    assert "utf-8" in said or code == "source.empty"


def test_a_model_of_other_columns_names_the_missing_one(folder, package, capsys):
    Path("other.csv").write_text(ROWS.replace("a,b,late", "a,c,late"))
    said = refused(capsys, "features.missing-column", "check", str(package), "--data", "other.csv", "--target", "late")
    assert "no column 'b'" in said


@pytest.mark.parametrize("kind", ["text", "cut", "code", "dictionary"])
def test_a_model_file_that_is_none_is_refused_and_its_code_does_nothing(folder, capsys, kind):
    class Payload:
        def __reduce__(self):
            return (Path.touch, (folder / "owned",))

    made = {"text": b"hello, this is no model", "code": pickle.dumps(Payload())}
    joblib.dump({"a": 1}, "model.joblib")
    if kind != "dictionary":
        Path("model.joblib").write_bytes(made.get(kind, Path("model.joblib").read_bytes()[:10]))
    words = ["pack", "model.joblib", "--name", "tiny", "--data", "rows.csv", "--target", "late"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "[pack.un" in said
    assert "Traceback" not in said
    assert not (folder / "owned").exists()
    assert not Path("tiny.mw").exists()


def test_a_damaged_package_is_damaged_data(folder, package, capsys):
    content, graph = bytearray(package.read_bytes()), open_path(package).read("model.onnx")
    content[content.index(graph) + len(graph) // 2] ^= 255
    Path("bad.mw").write_bytes(content)
    for words in (["inspect", "bad.mw"], ["predict", "bad.mw", "rows.csv"]):
        assert main(words) == 6
        assert "[package.malformed]" in capsys.readouterr().err


def test_rows_may_be_a_file_with_or_without_the_at_sign_or_one_object(folder, package, capsys):
    for rows in ("@rows.csv", "rows.csv", '{"a": 0.5, "b": 3}'):
        assert main(["predict", str(package), rows, "--json"]) == 0
        assert "label" in json.loads(capsys.readouterr().out)
    refused(capsys, "predict.bad-rows", "predict", str(package), '{"a": }')
    refused(capsys, "predict.bad-rows", "predict", str(package), "[1, 2]")


@pytest.mark.parametrize("place", ["/proc/none", "rows.csv"])
def test_a_data_directory_that_cannot_be_made_or_is_a_file(folder, capsys, place):
    assert "--home" in refused(capsys, "settings.home-unusable", "status", "--home", place)


def test_an_answer_file_that_cannot_be_written_says_why(folder, package, capsys):
    said = refused(capsys, "source.unwritable", "predict", str(package), "rows.csv", "-o", "/proc/none/a.csv")
    assert "No such file or directory" in said
    assert "Errno" not in said


def test_a_home_with_a_space_named_after_the_command_is_used(folder, capsys):
    assert main(["status", "--home", str(folder / "my models")]) == 0
    assert (folder / "my models" / "modelwright.db").exists()
    assert not (folder / "home").exists()
    assert str(folder / "my models") in capsys.readouterr().out


def test_a_project_file_that_was_named_must_be_there(folder, capsys):
    refused(capsys, "cli.missing-file", "status", "--project", "modelwrigt.yaml")


@pytest.mark.parametrize(
    "words",
    [
        ["versions", "tiny"],
        ["history", "tiny"],
        ["rollback", "tiny"],
        ["promote", "tiny", "1"],
        ["shadow", "tiny", "1"],
        ["renew", "tiny"],
        ["watch", "run", "tiny"],
        ["watch", "reports", "tiny"],
        ["record", "export", "tiny", "--to", "x.parquet"],
    ],
    ids=lambda words: words[0] if words[0] not in {"watch", "record"} else words[1],
)
def test_an_unknown_model_is_not_found_and_json_says_so_in_one_document(folder, capsys, words):
    assert main([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "register.unknown-model"


def test_revoking_nobodys_tokens_names_who_was_meant(folder, capsys):
    assert main(["token", "issue", "--subject", "board", "--role", "predictor", "--json"]) == 0
    capsys.readouterr()
    assert "Did you mean 'board'?" in refused(capsys, "tokens.unknown-subject", "token", "revoke", "--subject", "bord")


def test_a_mistyped_command_or_option_is_answered_with_the_one_that_was_meant(folder, capsys):
    assert main(["releese"]) == 2
    assert "Did you mean 'release'?" in capsys.readouterr().err
    assert main(["releese", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "cli.usage"


def command(*words: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "modelwright", *words], capture_output=True, text=True, check=False, timeout=60, **more
    )


def test_a_taken_port_another_ones_data_and_an_open_door_are_refused(folder, package):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = command("serve", "--http", place, "--control", "127.0.0.1:0")
        assert (done.returncode, "[serve.port-taken]" in done.stderr) == (2, True)
    done = command("serve", "--package", str(package), "--no-auth", "--http", "0.0.0.0:0")
    assert (done.returncode, "[serve.no-auth-needs-loopback]" in done.stderr) == (2, True)
    done = command("serve", "--package", str(package), "--http", "0.0.0.0:0")
    assert (done.returncode, "[serve.refused-bind]" in done.stderr) == (3, True)


def test_a_device_that_is_not_there_is_refused_unless_the_cpu_may_take_over(folder, graph_package):
    serving = ("serve", "--package", str(graph_package), "--no-auth", "--http", "127.0.0.1:0", "--device")
    done = command(*serving, "gpu")
    assert (done.returncode, "none of auto, cpu, cuda" in done.stderr) == (2, True)
    done = command(*serving, "migraphx:0")
    assert (done.returncode, "[serve.device-unavailable]" in done.stderr) == (5, True)
    assert "onnxruntime-migraphx" in done.stderr
    assert "--device migraphx,cpu" in done.stderr


def test_a_reader_that_leaves_early_is_no_error(folder):
    program = f"{sys.executable} -m modelwright settings --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "[0\n"
    assert done.stderr == ""


def test_no_colour_where_none_is_wanted(folder, monkeypatch):
    from modelwright.settings import colourless

    assert colourless({"NO_COLOR": "1"})
    assert colourless({"TERM": "dumb"})
    assert not colourless({"NO_COLOR": "", "TERM": "xterm"})


@pytest.mark.parametrize(
    ("cell", "text"),
    [(10002.0, "10002"), (3.0, "3"), (1234.56, "1234.6"), (0.123456, "0.1235"), (float("nan"), "-"), (None, "-")],
)
def test_figures_read_as_a_person_writes_them(cell, text):
    assert shown(cell) == text


def test_times_and_counts_read_as_a_person_writes_them():
    assert clock_time("2013-03-01T05:15:09.123456Z") == "2013-03-01 05:15:09"
    assert (counted(1, "row"), counted(2, "row")) == ("1 row", "2 rows")


def test_the_operator_may_be_named(folder, monkeypatch, capsys):
    monkeypatch.setenv("MODELWRIGHT_OPERATOR", "ann")
    assert main(["token", "issue", "--subject", "board", "--role", "predictor"]) == 0
    assert main(["ledger", "show", "--json"]) == 0
    assert '"actor": "ann"' in capsys.readouterr().out
