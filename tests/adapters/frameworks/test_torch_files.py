"""What is known of PyTorch and transformers files where neither library is installed."""

import sys
import zipfile
from pathlib import Path

import pytest

from modelwright.adapters.frameworks.torch import TorchFramework
from modelwright.adapters.frameworks.transformers import TransformersFramework
from modelwright.core.errors import BadInputError
from modelwright.native.torch_model import kind_of


@pytest.mark.parametrize(
    ("framework", "missing"), [(TorchFramework, "onnxscript"), (TransformersFramework, "transformers")]
)
def test_without_its_library_a_model_is_refused_with_the_extra_to_install(framework, missing, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(BadInputError) as refused:
        framework().convert(tmp_path / "net.pt", None)
    assert refused.value.code == "pack.missing-extra"
    assert f"modelwright[{framework.name}]" in refused.value.fix


def test_files_are_owned_by_their_suffix_and_folders_by_what_their_config_says(tmp_path):
    assert [TorchFramework().owns(Path(f"net{end}")) for end in (".pt", ".PTH", ".pt2", ".ts", ".onnx", "")] == [
        *([True] * 4),
        False,
        False,
    ]
    folders = TransformersFramework()
    assert not folders.owns(tmp_path)
    (tmp_path / "config.json").write_text("[1")
    assert not folders.owns(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert folders.owns(tmp_path)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["net/archive_format", "net/models/model.json"], "program"),
        (["net/constants.pkl", "net/code/__torch__.py", "net/data.pkl"], "script"),
        (["net/data.pkl", "net/version"], "module"),
    ],
)
def test_what_a_file_holds_is_told_by_the_names_in_its_archive(names, kind, tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    assert kind_of(tmp_path / "net.pt") == kind


def test_a_file_that_is_no_archive_is_taken_for_an_old_pickle(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"noise")
    assert kind_of(tmp_path / "net.pt") == "module"
