"""Code without a jail comes in by a role, and the ledger says so."""

import json

import joblib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.neighbors import NearestCentroid
from tests.stories.conftest import MODEL

import modelwright as mw
from modelwright.adapters.stores.package_files import write_zip
from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.errors import ForbiddenError, RefusedError
from modelwright.core.unjailed import unjailed
from modelwright.core.version import Lineage
from modelwright.interfaces.cli.app import cli
from modelwright.interfaces.console.views import model_page, version_page, without_jail

SUM = """
    def predict(inputs):
        return {"total": inputs["X"].sum(axis=1, keepdims=True)}
"""


@pytest.fixture
def registered(mill, code_package):
    """Number and digest of a registered version that asks for no jail, beside a champion that needs none."""
    mill.release("good", key="first")
    digest = package_codec.store(code_package(SUM, MODEL, isolation="off"), mill.platform.blobs.put)
    version = mill.platform.versions.register(MODEL, digest, lineage=Lineage(), verdict={}, act=Act("ann"))
    return version.number, digest


def acts(platform):
    return [entry for entry in platform.ledger.entries(subject=MODEL) if entry.action.startswith("govern.")]


@pytest.mark.parametrize("story", ["promote", "shadow"])
@pytest.mark.parametrize("role", ["deployer", "viewer", ""])
def test_whoever_lacks_the_permission_brings_no_version_without_a_jail_into_service(mill, registered, story, role):
    number, digest = registered
    before = mill.platform.routes.route(MODEL)
    with pytest.raises(ForbiddenError) as caught:
        mill.tell(story, key="k", model=MODEL, version=number, role=role)
    assert caught.value.code == "govern.isolation-off"
    assert caught.value.details["roles"] == ["admin"]
    assert mill.platform.routes.route(MODEL) == before
    (entry,) = acts(mill.platform)
    assert (entry.action, entry.actor, entry.evidence["digest"]) == ("govern.refused", "ann", digest)


def test_an_admin_brings_it_in_and_the_ledger_says_who_did(mill, registered):
    number, digest = registered
    assert mill.tell("promote", key="k", model=MODEL, version=number, role="admin")["outcome"] == "promoted"
    (entry,) = acts(mill.platform)
    assert (entry.action, entry.actor) == ("govern.isolation-off", "ann")
    assert entry.evidence == {"digest": digest, "members": [MODEL], "isolation": "off"} | {
        "idempotency_key": "k/govern.isolation-off"
    }


def test_a_release_without_a_jail_needs_the_operator_s_word_and_is_recorded(tmp_path):
    random = np.random.default_rng(5)
    rows = pd.DataFrame({"age": random.integers(18, 80, 80), "spend": random.normal(50, 9, 80).round(2)})
    late = np.where(rows["age"] > 45, "late", "ontime")
    joblib.dump(NearestCentroid().fit(rows, late), tmp_path / "model.joblib")
    rows.assign(y=late).to_csv(tmp_path / "rows.csv", index=False)
    words = ["release", str(tmp_path / "model.joblib"), "--name", "m", "--data", str(tmp_path / "rows.csv")]
    words += ["--target", "y", "--native", "--isolation", "off", "--json"]

    def invoke(words, **given):
        return CliRunner().invoke(cli, words, env={"MODELWRIGHT_HOME": str(tmp_path / "home"), **given})

    refused = invoke(words)
    assert refused.exception.code == "serve.isolation-off"
    released = invoke(words, MODELWRIGHT_NATIVE_ISOLATION="off")
    assert json.loads(released.output)["outcome"] == "promoted", released.output
    entries = json.loads(invoke(["ledger", "show", "--json"]).output)
    actions = [entry["action"] for entry in entries]
    assert actions.index("govern.isolation-off") < actions.index("register.add")


def test_inspect_and_the_pages_say_that_a_model_has_no_jail(mill, registered, code_package, tmp_path):
    write_zip(code_package(SUM, isolation="off"), tmp_path / "free.mw")
    told = CliRunner().invoke(cli, ["inspect", str(tmp_path / "free.mw")]).output
    assert "jail     off" in told
    assert "needs the permission unjail" in told
    number, _ = registered
    assert without_jail(mill.platform, "1", mill.platform.versions.versions(MODEL)) == ()
    assert version_page(mill.platform, MODEL, number)["unjailed"] == (MODEL,)
    mill.tell("promote", key="k", model=MODEL, version=number, role="admin")
    assert model_page(mill.platform, MODEL)["unjailed"] == (MODEL,)


def test_a_graph_with_a_node_that_has_no_jail_is_run_only_where_that_is_allowed(code_package, monkeypatch):
    with_jail, without = mw.PackedModel(code_package(SUM, "a")), mw.PackedModel(code_package(SUM, "b", isolation="off"))
    nodes = {"a": with_jail, "b": without, "both": {"fallback": {"first": "a", "then": "b"}}}
    with pytest.raises(RefusedError) as caught:
        mw.pack_graph(nodes, name="mix")
    assert caught.value.code == "serve.isolation-off"
    monkeypatch.setenv("MODELWRIGHT_NATIVE_ISOLATION", "off")
    assert unjailed(mw.pack_graph(nodes, name="mix").package) == ("b",)
