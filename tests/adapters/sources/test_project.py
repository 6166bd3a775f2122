import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from modelwright.adapters.sources.project import Project, read_project
from modelwright.core.errors import BadInputError
from modelwright.ports.platform import ModelPolicy
from modelwright.testing.errors import error_code

WHOLE = """
models:
  flight-delay:
    recipe: {load: recipe.py:load, train: recipe.py:train, target: late, timeout_seconds: 60}
    schedule: "0 3 * * 1"
    on_findings: [drift, performance]
    cooldown_seconds: 10
    canary: {weight: 0.2, requests: 300, timeout: 120}
    margin: 0.02
    gates: {roc_auc: 0.7}
    latency_budget_ms: 20
    keep_shadow: "1"
    slices: [airport, carrier]
    max_slice_gap: {accuracy: 0.1}
alerts:
  - {channel: webhook, url: "https://example.org/hook", secret: s}
"""


def read(tmp_path, text) -> Project:
    path = tmp_path / "modelwright.yaml"
    path.write_text(text)
    return read_project(path)


def test_every_key_reaches_the_policy(tmp_path):
    project = read(tmp_path, WHOLE)
    policy = project.policies["flight-delay"]
    assert policy.recipe is not None
    assert (policy.recipe.root, policy.recipe.load, policy.recipe.train) == (
        tmp_path,
        "recipe.py:load",
        "recipe.py:train",
    )
    assert (policy.recipe.target, policy.recipe.timeout_seconds) == ("late", 60)
    assert (policy.schedule, policy.on_findings, policy.cooldown_seconds) == ("0 3 * * 1", ("drift", "performance"), 10)
    assert (policy.canary_weight, policy.canary_requests, policy.canary_timeout) == (0.2, 300, 120)
    assert (policy.margin, policy.gates, policy.latency_budget_ms) == (0.02, {"roc_auc": 0.7}, 20)
    assert policy.keep_shadow == "1"
    assert (policy.slices, policy.max_slice_gap) == (("airport", "carrier"), {"accuracy": 0.1})
    assert project.alerts == ({"channel": "webhook", "url": "https://example.org/hook", "secret": "s"},)


def test_a_missing_file_is_an_empty_project(tmp_path):
    assert read_project(tmp_path / "modelwright.yaml") == Project()


@pytest.mark.parametrize("text", ["", "models:\n", "models: {}\n", "alerts: []\n"])
def test_an_empty_file_asks_for_nothing(tmp_path, text):
    if text == "models:\n":
        with pytest.raises(BadInputError):
            read(tmp_path, text)
    else:
        assert read(tmp_path, text) == Project()


def test_a_model_without_keys_has_the_defaults(tmp_path):
    assert read(tmp_path, "models: {m: }\n").policies == {"m": ModelPolicy()}


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("modles: {}", "modles", "'models'"),
        ("models: {m: {marging: 1}}", "models.m.marging", "'margin'"),
        ("models: {m: {canary: {wieght: 0.1}}}", "models.m.canary.wieght", "'weight'"),
        ("models: {m: {canary: {weight: 1}}}", "models.m.canary.weight", "< 1"),
        ("models: {m: {canary: {requests: many}}}", "models.m.canary.requests", "int"),
        ("models: {m: {margin: -1}}", "models.m.margin", ">= 0"),
        ("models: {m: {recipe: {load: a.py:f}}}", "models.m.recipe", "train"),
        ("models: {m: {recipe: {load: a, train: a.py:f, target: y}}}", "models.m.recipe.load", "FILE.py:FUNCTION"),
        ("models: {m: {on_findings: [drifts]}}", "models.m.on_findings", "'drift'"),
        ("models: {m: {schedule: nightly}}", "models.m.schedule", "cron"),
        ("models: {m: {max_slice_gap: {accuracy: 0.1}}}", "models.m.max_slice_gap", "slices"),
        ("models: {m: {slices: [a], max_slice_gap: {accuracy: -1}}}", "models.m.max_slice_gap[...]", ">= 0"),
        ("models: {'Bad Name': {}}", "models.Bad Name", ""),
        ("alerts: [{url: x}]", "alerts[0].channel", "webhook"),
        ("alerts: [{channel: webhook}]", "alerts[0].url", "needs"),
        ("alerts: [{channel: webhook, url: x, sekret: y}]", "alerts[0].sekret", "'secret'"),
    ],
)
def test_what_is_wrong_is_named_by_its_key_with_a_hint(tmp_path, text, key, hint):
    with pytest.raises(BadInputError) as caught:
        read(tmp_path, text)
    assert caught.value.code == "project.invalid"
    assert caught.value.details == {"key": key}
    assert hint in str(caught.value)


@pytest.mark.parametrize("text", ["models: [", "just words", "- 1", "\x00"])
def test_what_is_no_project_is_refused(tmp_path, text):
    with pytest.raises(BadInputError, match=r"modelwright\.yaml"):
        read(tmp_path, text)


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["models", "alerts", "recipe", "canary", "m", "gates"]), inner, max_size=3
            )
        ),
        max_leaves=12,
    )
)
def test_any_yaml_is_a_project_or_a_clear_refusal(tmp_path_factory, body):
    path = tmp_path_factory.mktemp("project") / "modelwright.yaml"
    path.write_text(yaml.safe_dump(body))
    assert error_code(read_project, path) in {"", "project.invalid"}
