"""The project file's settings are changed in place and taken back."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from modelwright.adapters.sources.project import read_project
from modelwright.adapters.sources.project_settings import change, changed, restore
from modelwright.core.errors import ModelwrightError
from modelwright.settings import load

PROJECT = """# ours
models:
  flight-delay:
    schedule: ""        # never by the clock

settings:   # what bench chose
  # a note
  threads: 1   # one is enough
alerts: []
"""


def test_comments_and_every_other_line_stay(tmp_path: Path):
    path = tmp_path / "modelwright.yaml"
    path.write_text(PROJECT)
    former = change(path, {"threads": 2, "workers": 4})
    assert former == {"threads": 1, "workers": None}
    assert path.read_text() == PROJECT.replace("threads: 1 ", "threads: 2 ").replace("alerts", "  workers: 4\nalerts")
    assert read_project(path).policies


def test_undoing_gives_the_very_bytes_back_and_works_once(tmp_path: Path):
    path = tmp_path / "modelwright.yaml"
    path.write_text(PROJECT)
    change(path, {"threads": 2})
    restore(path)
    assert path.read_text() == PROJECT
    with pytest.raises(ModelwrightError) as caught:
        restore(path)
    assert caught.value.code == "project.nothing-to-undo"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_not_there_is_made_and_gone_again(tmp_path: Path):
    path = tmp_path / "modelwright.yaml"
    change(path, {"workers": 2})
    assert load({"project": path}, environ={}).workers == 2
    restore(path)
    assert not path.exists()


def test_what_somebody_has_edited_since_is_not_thrown_away(tmp_path: Path):
    path = tmp_path / "modelwright.yaml"
    change(path, {"workers": 2})
    path.write_text(path.read_text() + "alerts: []\n")
    with pytest.raises(ModelwrightError) as caught:
        restore(path)
    assert caught.value.code == "project.changed-since"
    assert "alerts" in path.read_text()


@pytest.mark.parametrize("text", ["settings: {threads: 1}\n", '"settings":\n  threads: 1\n', "- a\n", "a: [\n"])
def test_a_section_that_cannot_be_changed_safely_is_left_alone(tmp_path: Path, text: str):
    path = tmp_path / "modelwright.yaml"
    path.write_text(text)
    with pytest.raises(ModelwrightError) as caught:
        change(path, {"threads": 2})
    assert caught.value.code == "project.not-changed"
    assert path.read_text() == text


NAMES = st.sampled_from(["threads", "workers", "queue_seconds", "keep_seconds"])


@given(
    st.dictionaries(NAMES, st.integers(1, 9), max_size=4),
    st.dictionaries(NAMES, st.one_of(st.integers(1, 9), st.floats(0.01, 9)), min_size=1, max_size=4),
    st.sampled_from(["", "models: {}\n", "# note\n\n"]),
    st.sampled_from(["", "alerts: []\n", "\n\nalerts: []\n"]),
    st.integers(1, 6),
)
def test_the_changed_text_means_what_it_meant_with_these_values(held, values, before, after, indent):
    section = "settings:\n" + "".join(f"{' ' * indent}{name}: {value}  # why\n" for name, value in held.items())
    text = before + (section if held else "") + after
    meant = yaml.safe_load(text) or {}
    expected = {**meant, "settings": {**held, **values}}
    assert yaml.safe_load(changed(text, values)) == json.loads(json.dumps(expected))
