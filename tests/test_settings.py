"""Settings come from one table."""

from pathlib import Path

import pytest

from modelwright.core.errors import BadInputError
from modelwright.settings import SETTINGS, address, load
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
