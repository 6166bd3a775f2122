"""A small mill: real tiny models, real files and a real prediction log; registry, clock and gateways as fakes."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from modelwright.adapters.frameworks.sklearn import SklearnFramework
from modelwright.adapters.runners.onnx import OnnxRunners
from modelwright.adapters.sources.files import FileSource
from modelwright.core import package_codec
from modelwright.core.prediction import PredictionRecord, TruthRecord
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.lifecycle import STORIES
from modelwright.ports.framework import NO_HINTS
from modelwright.ports.platform import ModelPolicy, Platform
from modelwright.record.log import DuckLog
from modelwright.record.writer import SegmentWriter
from modelwright.testing.channel import InMemoryChannel
from modelwright.testing.clock import ManualClock
from modelwright.testing.platform import in_memory_platform
from modelwright.testing.trainer import FixedTrainer
from modelwright.testing.workflow import InlineSteps

MODEL = "tiny"
POLICY = ModelPolicy(canary_weight=0.5, canary_requests=30, canary_timeout=20.0, margin=0.02)


def rows(count: int, seed: int) -> pd.DataFrame:
    """Two numbers and a label that follows mostly the first of them."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": random.normal(size=count), "b": random.normal(size=count)})
    chance = 1 / (1 + np.exp(-3 * frame.a - 2 * frame.b))
    return frame.assign(late=(random.uniform(size=count) < chance).astype(int))


@cache
def fitted(kind: str) -> Pipeline:
    """``weak`` sees the first feature only, ``good`` both, ``bad`` learned the opposite."""
    frame = rows(400, seed=1)
    label = 1 - frame.late if kind == "bad" else frame.late
    features = frame[["a", "b"]].assign(b=0.0) if kind == "weak" else frame[["a", "b"]]
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(features, label)


class Converting(SklearnFramework):
    """Converts in this process, and each file once: what the jail around a foreign file does is tried elsewhere."""

    def __init__(self, done: dict) -> None:
        super().__init__()
        self.done = done

    def convert(self, model, examples, *, target="", route="auto", isolation="strict", hints=NO_HINTS):
        key = (hashlib.sha256(model.read_bytes()).hexdigest(), len(examples), target)
        if key not in self.done:
            self.done[key] = super().convert(joblib.load(model), examples, target=target, route=route)
        return self.done[key]


@pytest.fixture(scope="session")
def conversions():
    return {}


@dataclass
class Mill:
    """The platform, its traffic, and a way to run stories."""

    platform: Platform
    folder: Path
    sink: SegmentWriter
    failing: set[str] = field(default_factory=set)
    clock: ManualClock = field(default_factory=ManualClock)
    asked: int = 0

    def tell(self, story: str, *, key: str, finished: dict | None = None, **arguments):
        """Run a story; while it waits, requests come in."""
        steps = InlineSteps(key, {} if finished is None else finished, wait=self.wait)
        return STORIES[story](self.platform, steps, {"actor": "ann", "reason": "a test", **arguments})

    def rows(self, count: int, seed: int) -> pd.DataFrame:
        return rows(count, seed)

    def wait(self, seconds: float) -> None:
        self.serve(20)
        self.clock.sleep(seconds)

    def release(self, kind: str, *, key: str, **more):
        return self.tell("release", key=key, **(self.arguments(kind) | more))

    def arguments(self, kind: str) -> dict:
        artifact, data = self.folder / f"{kind}.joblib", self.folder / "validation.parquet"
        joblib.dump(fitted(kind), artifact)
        self.write(rows(1500, seed=2), data)
        files = {"artifact": str(artifact), "data": str(data), "reference": None}
        return {**files, "name": MODEL, "target": "late", "canary": True}

    def write(self, frame: pd.DataFrame, path: Path) -> None:
        self.platform.source.write(Table({name: frame[name].to_numpy() for name in frame}), path)

    def serve(self, count: int) -> None:
        """What gateways do: answer each request by one arm of the route, and record it with its truth."""
        route = self.platform.routes.route(MODEL)
        if route is None or not route.arms:
            return
        frame = rows(count, seed=self.asked)
        for index in range(count):
            key = f"{self.asked:06d}"
            self.asked += 1
            point = zlib.crc32(key.encode()) / 2**32
            answering = route.arms[0] if point < route.arms[0].weight else route.arms[-1]
            for arm in (answering, *route.shadows):
                self.record(arm, key, frame.iloc[[index]])
        self.sink.flush()

    def record(self, arm, key: str, frame: pd.DataFrame) -> None:
        package = package_codec.load(arm.digest, self.platform.blobs.get)
        inputs = feeds(package.signature, Table({name: frame[name].to_numpy() for name in ("a", "b")}))
        failed = arm.version in self.failing
        outputs = {} if failed else self.platform.runners.load(package).run(inputs)
        now = self.clock.now()
        status = "model.failed" if failed else "ok"
        self.sink.append(
            PredictionRecord(MODEL, arm.version, arm.role, key, now, now, 1e-4, "bob", status, 1, inputs, outputs)
        )
        self.sink.append(TruthRecord(MODEL, key, (int(frame.late.iloc[0]),), now, now, "bob"))

    def policy(self, **changes) -> None:
        self.platform = replace(self.platform, policies={MODEL: replace(self.platform.policies[MODEL], **changes)})

    def actions(self) -> list[str]:
        return [entry.action for entry in self.platform.ledger.entries()]

    def entry(self, action: str):
        return [entry for entry in self.platform.ledger.entries() if entry.action == action][-1]

    def champion(self) -> str:
        return self.platform.versions.alias(MODEL, "champion")

    def arms(self) -> list[tuple[str, str]]:
        return [(arm.version, arm.role) for arm in self.platform.routes.route(MODEL).arms]


@pytest.fixture
def mill(tmp_path, conversions):
    clock = ManualClock()
    sink = SegmentWriter(tmp_path / "log", writer_id="test")

    def train(recorded: Path | None, work: Path) -> int:
        frame = rows(300, seed=3)
        for name in ("validation.parquet", "reference.parquet"):
            platform.source.write(Table({each: frame[each].to_numpy() for each in frame}), work / name)
        joblib.dump(fitted("good"), work / "model.joblib")
        return len(frame)

    platform = in_memory_platform(
        tmp_path,
        log=DuckLog(tmp_path / "log"),
        source=FileSource(),
        runners=OnnxRunners(),
        trainer=FixedTrainer(train),
        frameworks=[Converting(conversions)],
        channels=[InMemoryChannel()],
        policies={MODEL: POLICY},
        clock=clock,
    )
    yield Mill(platform, tmp_path, sink, clock=clock)
    sink.close()
