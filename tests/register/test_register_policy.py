import pytest

from modelwright.core.errors import RefusedError
from modelwright.core.package import Description, FileEntry, Manifest, Package
from modelwright.core.signature import Signature
from modelwright.core.verdict import Gate, Verdict
from modelwright.core.version import Lineage
from modelwright.register.lineage import lineage_of
from modelwright.register.policy import may_register

PASSED = Gate("golden", passed=True, figure=0.0, threshold=1e-6, why="The golden rows reproduce.")
REFUSED = Gate("log_loss", passed=False, figure=0.9, threshold=0.6, why="Log loss 0.9 is above 0.6.", fix="More data.")
SLOW = Gate("latency", passed=False, figure=80.0, threshold=50.0, why="p99 is 80 ms; the budget is 50 ms.")


def verdict_of(*gates):
    return Verdict("ab" * 32, "binary", 100, (), gates, data_digest="from the check")


def package_of(data_digest, files):
    description = Description(
        "flight", "sklearn", "1.7", "Pipeline", "onnx", "2026", "3.11", data_digest=data_digest, code_revision="r1"
    )
    return Package(Manifest("flight", files), description, Signature((), ()), None, None, None, lambda name: b"")


def test_a_verdict_whose_gates_all_passed_may_be_registered():
    may_register(verdict_of(PASSED))
    may_register(verdict_of())


def test_a_refused_verdict_names_every_gate_that_said_no():
    with pytest.raises(RefusedError) as raised:
        may_register(verdict_of(PASSED, REFUSED, SLOW))
    error = raised.value
    assert error.code == "register.refused-verdict"
    assert error.what == "The package is not registered: log_loss, latency said no."
    assert "0.9 is above 0.6" in error.why
    assert "80 ms" in error.why
    assert error.fix == "More data."
    assert [gate["name"] for gate in error.details["gates"]] == ["log_loss", "latency"]
    assert error.details["gates"][0]["figure"] == 0.9


def test_lineage_is_read_from_the_package():
    package = package_of("of the package", {"environment.json": FileEntry("ef" * 32, 10)})
    lineage = lineage_of(package, verdict_of(), parent_version="3", order="flight-2013-04")
    assert lineage == Lineage("of the package", "r1", "ef" * 32, "3", "flight-2013-04")


def test_lineage_of_a_package_that_names_no_data_or_environment_comes_from_the_check():
    assert lineage_of(package_of("", {}), verdict_of()) == Lineage("from the check", "r1", "")
