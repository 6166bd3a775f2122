"""What `modelwright pack` may be told about a model."""

import json

import pytest
from click.testing import CliRunner

from modelwright.adapters.stores.package_files import open_path
from modelwright.core.signature import InputPolicy
from modelwright.interfaces.cli.app import cli


@pytest.fixture
def pack(tmp_path, sum_package):
    """``pack(*options)``: the package of a small ONNX file."""
    (tmp_path / "sum.onnx").write_bytes(sum_package().read("model.onnx"))

    def run(*options):
        to = tmp_path / "sum.mw"
        told = CliRunner().invoke(
            cli, ["pack", str(tmp_path / "sum.onnx"), "--name", "sum", "-o", str(to), "--json", *options]
        )
        assert told.exit_code == 0, told.output
        assert json.loads(told.output)["path"] == str(to)
        return open_path(to)

    return run


def test_the_rows_of_an_onnx_file_are_not_taken_to_stand_alone_unless_somebody_says_so(pack):
    assert not pack().description.row_independent
    assert pack("--row-independent").description.row_independent


def test_the_input_policy_travels_in_the_package(pack):
    assert pack().signature.policy == InputPolicy()
    assert pack("--out-of-range", "warn", "--unseen-category", "reject").signature.policy == InputPolicy(
        "warn", "reject"
    )
