"""Every command is documented, speaks JSON where it prints a result, and fails with words."""

import json
from pathlib import Path

import click
import pytest

from modelwright.interfaces.cli import main
from modelwright.interfaces.cli.app import COMMANDS, cli
from modelwright.interfaces.cli.output import EXIT_CODES, plain

BECOMES_A_PROCESS = {"modelwright serve"}


def every_command():
    def walk(command, name, parent):
        context = click.Context(command, info_name=name, parent=parent)
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                yield from walk(command.get_command(context, child), child, context)
        else:
            yield pytest.param(command, context.command_path, id=context.command_path)

    return list(walk(cli, "modelwright", None))


@pytest.mark.parametrize(("command", "path"), every_command())
def test_every_command_has_help_with_an_example_of_itself(command, path, capsys):
    assert main([*path.split()[1:], "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Example: {path}" in text.replace("\n  ", " ") or "Example: MODELWRIGHT_" in text


@pytest.mark.parametrize(("command", "path"), every_command())
def test_every_command_that_prints_a_result_has_json(command, path):
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options or path in BECOMES_A_PROCESS


@pytest.mark.parametrize(("command", "path"), every_command())
def test_every_option_says_what_it_is(command, path):
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts}"


def test_the_help_lists_the_commands_in_the_order_of_a_models_life(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    positions = [text.index(f"\n  {name} ") for name in COMMANDS]
    assert positions == sorted(positions)


def test_an_unknown_command_is_bad_input(capsys):
    assert main(["releese"]) == 2
    assert "releese" in capsys.readouterr().err


def test_a_missing_file_names_the_one_that_was_meant(tmp_path: Path, capsys):
    (tmp_path / "january.parquet").write_bytes(b"")
    code = main(
        ["watch", "compare", "--reference", str(tmp_path / "januray.parquet"), "--current", str(tmp_path / "x.parquet")]
    )
    assert code == 2
    error = capsys.readouterr().err
    assert "cli.missing-file" in error
    assert "january.parquet" in error
    assert "Traceback" not in error


def test_an_error_with_json_is_json_on_standard_output(tmp_path: Path, capsys):
    assert main(["inspect", str(tmp_path / "none.mw"), "--json"]) == 2
    body = json.loads(capsys.readouterr().out)
    assert body["error"]["code"] == "cli.missing-file"
    assert body["error"]["kind"] == "bad-input"


def test_inspecting_a_pickle_lists_what_it_would_import_and_what_to_do(tmp_path: Path, capsys):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert main(["inspect", str(path)]) == 3
    said = capsys.readouterr().out
    assert "os.system" in said
    assert "modelwright pack" in said


def test_a_data_directory_that_cannot_be_made_is_said_so(tmp_path: Path, capsys):
    (tmp_path / "file").write_text("not a directory")
    assert main(["--home", str(tmp_path / "file" / "home"), "status"]) == 2
    assert "settings.home-unusable" in capsys.readouterr().err


def test_a_data_directory_that_others_may_write_to_is_refused(tmp_path: Path, capsys):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    assert main(["--home", str(home), "status"]) == 2
    assert "chmod go-w" in capsys.readouterr().err


def test_every_kind_of_error_has_an_exit_code():
    from modelwright.core import errors

    kinds = {
        value.kind
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.ModelwrightError)
    }
    assert kinds == set(EXIT_CODES)


def test_json_holds_no_number_that_json_does_not_know():
    assert plain({"a": float("nan"), "b": [float("inf"), 1.5], 3: "x"}) == {"a": None, "b": [None, 1.5], "3": "x"}


def test_settings_lists_every_setting(capsys):
    from modelwright.settings import SETTINGS

    assert main(["settings", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [setting.name for setting in SETTINGS]
