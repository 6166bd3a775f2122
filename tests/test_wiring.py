"""The composition root: one place that makes the data directory, finds the adapters and puts the platform together."""

import stat
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from modelwright import settings, wiring
from modelwright.core.access import Act
from modelwright.core.errors import BadInputError, CorruptError
from modelwright.signing import keys
from modelwright.signing.check import examine

ROOT = Path(__file__).parents[1]


@pytest.fixture
def given(tmp_path):
    return replace(settings.load(environ={}), home=tmp_path / "a home", project=tmp_path / "modelwright.yaml")


def test_importing_it_brings_no_adapter_and_no_stage():
    code = "import sys, modelwright.wiring; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name.split(".")[1] for name in done.stdout.split() if name.startswith("modelwright.")}
    assert ours == {"core", "ports", "settings", "wiring"}


def test_the_data_directory_and_its_folders_are_private(tmp_path):
    home = wiring.private_home(tmp_path / "one" / "two")
    folders = [home, *(home / name for name in ("blobs", "log", "run", "keys", "work"))]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 6


def test_a_data_directory_that_others_may_write_to_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(BadInputError, match="Others may write") as caught:
        wiring.private_home(tmp_path)
    assert caught.value.fix == f"chmod go-w {tmp_path}"


@pytest.mark.parametrize("place", ["file/home", "file"])
def test_a_data_directory_that_cannot_be_made_is_bad_input(tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInputError) as caught:
        wiring.private_home(tmp_path / place)
    assert caught.value.code == "settings.home-unusable"


def test_what_one_platform_wrote_the_next_one_reads(given):
    with wiring.platform(given) as platform:
        platform.tokens.issue("board", "predictor", act=Act("ann"))
    with wiring.platform(given) as platform:
        assert [grant.subject for grant in platform.tokens.grants()] == ["board"]
        assert platform.ledger.verify().verified
    assert stat.S_IMODE((given.home / "modelwright.db").stat().st_mode) & 0o077 == 0


def test_the_project_file_gives_policies_and_channels(given):
    given.project.write_text(
        "models: {tiny: {margin: 0.5}}\nalerts: [{channel: webhook, url: 'https://a.example/x'}]\n"
    )
    with wiring.platform(given) as platform:
        assert platform.policies["tiny"].margin == 0.5
        assert len(platform.channels) == 2


def test_an_unknown_plugin_names_those_there_are():
    with pytest.raises(BadInputError) as caught:
        wiring.plugin("modelwright.channels", "pigeon")
    assert caught.value.fix == "Known: log, webhook."


def test_every_built_in_adapter_loads_through_the_plugins_door():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    frameworks, channels = declared["modelwright.frameworks"], declared["modelwright.channels"]
    found = {(row["name"], row["error"]) for row in wiring.plugins()}
    assert found >= {(name, "") for name in (*frameworks, *channels)}
    assert {framework.name for framework in wiring.frameworks()} == {"graph", "mlflow", *frameworks}


def test_a_package_that_is_none_is_damaged_data(tmp_path):
    (tmp_path / "x.mw").write_bytes(b"no archive at all")
    with pytest.raises(CorruptError):
        wiring.open_package(tmp_path / "x.mw")


def test_the_key_that_is_set_signs_and_none_signs_nothing(tmp_path, sum_package):

    keys.new_key(tmp_path / "ada.key", tmp_path / "ada.pub", "correct horse")
    given = {"home": tmp_path / "home", "signing_key": str(tmp_path / "ada.key")}
    manifest = sum_package("total").manifest
    with wiring.platform(settings.load({**given, "signing_passphrase": "correct horse"}, {})) as platform:
        found = examine(manifest, platform.signer(manifest), keys.read_trusted(tmp_path / "ada.pub"), 0.0)
        assert found.state == "trusted"
    with wiring.platform(settings.load({"home": tmp_path / "home"}, {})) as platform:
        assert platform.signer is None


@pytest.mark.parametrize("told", [True, False])
def test_a_release_measures_kernels_only_where_the_setting_asks(tmp_path, told):
    with wiring.platform(settings.load({"home": tmp_path / "home", "kernels": told})) as made:
        assert (made.kernels is not None) == told
