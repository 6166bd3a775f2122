"""A platform of fakes with one model in two versions, its traffic, its reports and its stories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.finding import ColumnReport, Finding, WatchReport, Window
from modelwright.core.package import Description, canonical_json
from modelwright.core.prediction import PredictionRecord
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.core.version import Arm, Lineage, Route
from modelwright.lifecycle import STORIES
from modelwright.ports.platform import Platform
from modelwright.settings import Settings, load
from modelwright.testing.platform import in_memory_platform
from modelwright.testing.record import InMemoryLog, InMemorySink
from modelwright.testing.runner import FunctionRunners
from modelwright.testing.source import InMemorySource
from modelwright.testing.target import InMemoryTarget
from modelwright.testing.trainer import FixedTrainer
from modelwright.testing.workflow import InlineWorkflow

MODEL = "flight-delay"
SIGNATURE = Signature(
    inputs=(TensorSpec("temp", "FP32", (-1, 1)),),
    outputs=(TensorSpec("label", "INT64", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2))),
    features=(Feature("temp", "number", low=-10.0, high=35.0),),
    task="binary",
    classes=("0", "1"),
    label_output="label",
    score_output="probabilities",
    target="late",
)
VERDICT = {
    "passed": True,
    "rows": 500,
    "metrics": [{"name": "log_loss", "value": 0.48, "low": 0.45, "high": 0.51, "rows": 500}],
    "gates": [
        {"name": "parity", "passed": True, "figure": 1e-7, "threshold": 1e-4, "why": "The same answers.", "fix": ""}
    ],
    "comparison": None,
}


def package_digest(platform: Platform, mark: str) -> str:
    """A stored package whose graph is the text ``mark``."""
    description = Description(MODEL, "onnx", "1", "Graph", "onnx", "2013-03-01T00:00:00Z", "3.11")
    files = {
        "model.onnx": mark.encode(),
        "evidence.json": canonical_json({"purpose": f"<script>alert('{mark}')</script>"}),
        package_codec.DESCRIPTION: package_codec.description_json(description),
        package_codec.SIGNATURE: package_codec.signature_json(SIGNATURE),
    }
    return package_codec.store(package_codec.assemble(MODEL, files), platform.blobs.put)


def report(month: int, log_loss: float) -> WatchReport:
    """What one look at a month found."""
    day = 86400.0
    window = Window(month * 30 * day, (month + 1) * 30 * day)
    finding = Finding("drift", "temp", "warning", "temp is higher: mean 8 -> 21.", 0.4, 1e-9, 1e-8, 1)
    column = ColumnReport(
        "temp", "finding", 0.4, 1e-9, 1e-8, 1000, 900, "temp is higher.", (0.5, 0.5), (0.2, 0.8), ("low", "high")
    )
    measured = {"log_loss": (log_loss, log_loss - 0.02, log_loss + 0.02), "roc_auc": (0.7, 0.65, 0.75)}
    return WatchReport(
        MODEL, "2", window, 900, 800, (finding,), (column,), measured, 0.2 + month / 100, "One column moved."
    )


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """Version 1 was champion, version 2 is, version 1 is its shadow."""
    sink = InMemorySink()
    fakes = in_memory_platform(
        tmp_path,
        log=InMemoryLog(sink),
        target=InMemoryTarget(),
        source=InMemorySource(),
        runners=FunctionRunners({}),
        trainer=FixedTrainer(lambda _recorded, _work: 0),
    )
    arms = []
    for mark, why in (("first", "first release"), ("second", "month end <b>renewal</b>")):
        digest = package_digest(fakes, mark)
        act = Act("nadia", why)
        made = fakes.versions.register(
            MODEL, digest, lineage=Lineage(code_revision="3f9c2e1"), verdict=VERDICT, act=act
        )
        fakes.versions.set_alias(MODEL, "champion", made.number, act=act)
        arms.append(made)
    shadow, champion = (
        Arm(v.number, v.digest, w, r) for v, w, r in zip(arms, (0.0, 1.0), ("shadow", "champion"), strict=True)
    )
    fakes.routes.set_route(Route(MODEL, (champion,), (shadow,)), act=Act("nadia", "go"))
    for month in range(3):
        fakes.findings.add_report(report(month, 0.48 + month / 100), act=Act("modelwright"))
    now = fakes.clock.now()
    feeds = {"temp": np.array([[7.0]], dtype=np.float32)}
    for number in range(4):
        status = "ok" if number else "serve.failed"
        sink.append(
            PredictionRecord(MODEL, "2", "champion", f"p{number}", now, now, 2e-4, "board", status, 1, feeds, {})
        )
    sink.flush()
    return fakes


@pytest.fixture
def workflow(platform: Platform) -> Iterator[InlineWorkflow]:
    """The real stories, run in threads."""
    inline = InlineWorkflow(platform, STORIES)
    yield inline
    inline.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Defaults over a scratch directory."""
    return load({"home": tmp_path}, environ={})
