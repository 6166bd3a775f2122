"""Settings come from one table."""

from pathlib import Path

import pytest

from modelwright.core.errors import BadInputError
from modelwright.settings import SETTINGS, address, environment_of, load, set_outside
from modelwright.testing.errors import error_code


def test_every_setting_has_a_default_that_parses_and_a_help():
    settings = load(environ={})
    for setting in SETTINGS:
        assert getattr(settings, setting.name) == setting.parse(setting.default)
        assert setting.help.endswith(".")


def test_the_environment_sets_a_value_and_an_override_wins():
    environment = {"MODELWRIGHT_THREADS": "3", "MODELWRIGHT_HTTP": "127.0.0.1:9000"}
    assert load(environ=environment).threads == 3
    assert load({"http": "127.0.0.1:9001"}, environ=environment).http == "127.0.0.1:9001"


def test_an_override_that_was_not_given_does_not_count():
    assert load({"home": None}, environ={"MODELWRIGHT_HOME": "/srv/models"}).home == Path("/srv/models")


def test_a_value_that_does_not_parse_names_its_variable_and_what_it_means():
    with pytest.raises(BadInputError) as caught:
        load(environ={"MODELWRIGHT_LOG_MODE": "sometimes"})
    assert caught.value.code == "settings.invalid"
    assert "MODELWRIGHT_LOG_MODE" in str(caught.value)
    assert "batched" in caught.value.fix


@pytest.mark.parametrize("text", ["8080", "localhost", ":8080", "localhost:http", "localhost:70000"])
def test_an_address_needs_host_and_port(text):
    with pytest.raises(BadInputError, match="not an address"):
        address(text)


def test_an_address_may_be_ipv6():
    assert address("[::1]:8080") == ("::1", 8080)


VERTEX = {
    "AIP_HTTP_PORT": "9000",
    "AIP_PREDICT_ROUTE": "/v1/models/1:predict",
    "AIP_HEALTH_ROUTE": "/v1/endpoints/1",
}


def test_on_vertex_ai_its_variables_count_where_ours_are_not_set():
    settings = load(environ={"AIP_MODE": "PREDICTION", **VERTEX, "MODELWRIGHT_HEALTH_ROUTE": "/up"})
    assert settings.http == "0.0.0.0:9000"
    assert (settings.predict_route, settings.health_route) == ("/v1/models/1:predict", "/up")


def test_elsewhere_the_variables_of_vertex_ai_mean_nothing():
    assert load(environ=VERTEX) == load(environ={})


@pytest.mark.parametrize("route", ["predict", "/a b", "/a?b", "/{model}", "/a\r\nb"])
def test_a_route_is_a_plain_path(route):
    with pytest.raises(BadInputError, match="no plain path"):
        load(environ={"MODELWRIGHT_PREDICT_ROUTE": route})


@pytest.mark.parametrize(("text", "threads"), [("auto", 0), ("0", 0), ("3", 3)])
def test_threads_are_a_number_or_all_of_the_share(text, threads):
    assert load({}, {"MODELWRIGHT_THREADS": text}).threads == threads


@pytest.mark.parametrize("text", ["-1", "many"])
def test_threads_that_are_neither_are_refused(text):
    assert error_code(load, {}, {"MODELWRIGHT_THREADS": text}) == "settings.invalid"


def project(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "modelwright.yaml"
    path.write_text(text)
    return path


def test_the_project_file_sets_a_value_and_the_environment_and_an_override_win(tmp_path: Path):
    path = project(tmp_path, "settings:\n  threads: 3\n  log_required: true\n  queue_seconds: 0.05\n")
    settings = load({"project": path}, environ={})
    assert (settings.threads, settings.log_required, settings.queue_seconds) == (3, True, 0.05)
    assert load({"project": path}, environ={"MODELWRIGHT_THREADS": "4"}).threads == 4
    assert load({"project": path, "threads": 5}, environ={"MODELWRIGHT_THREADS": "4"}).threads == 5
    assert load(environ={"MODELWRIGHT_PROJECT": str(path)}).threads == 3


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("settings:\n  thread: 3\n", "settings.unknown"),
        ("settings:\n  home: /tmp\n", "settings.unknown"),
        ("settings:\n  threads: many\n", "settings.invalid"),
        ("settings: [threads]\n", "settings.bad-file"),
    ],
)
def test_what_is_wrong_with_a_setting_in_the_file_is_said(tmp_path: Path, text: str, code: str):
    with pytest.raises(BadInputError) as caught:
        load({"project": project(tmp_path, text)}, environ={})
    assert caught.value.code == code
    assert caught.value.fix


def test_a_project_file_without_settings_changes_none(tmp_path: Path):
    plain = load({"project": tmp_path / "none.yaml"}, environ={})
    held = load({"project": project(tmp_path, "models: {}\n")}, environ={})
    assert plain.threads == held.threads


def test_a_process_of_ours_gets_the_changed_settings_in_its_environment():
    environment = environment_of({"threads": 2}, environ={"PATH": "/bin", "MODELWRIGHT_THREADS": "1"})
    assert environment == {"PATH": "/bin", "MODELWRIGHT_THREADS": "2"}


def test_what_the_environment_sets_is_named_because_the_file_cannot_change_it():
    assert set_outside(["threads", "workers"], environ={"MODELWRIGHT_THREADS": "1"}) == ["MODELWRIGHT_THREADS"]
