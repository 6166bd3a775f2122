"""A Platform of fakes, for trying stories without a database, a server or a wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from modelwright.core.package import Manifest
from modelwright.ports.channel import Channel
from modelwright.ports.clock import Clock
from modelwright.ports.framework import Framework
from modelwright.ports.platform import ModelPolicy, Platform
from modelwright.ports.record import PredictionLog
from modelwright.ports.runner import RunnerLoader
from modelwright.ports.source import Source
from modelwright.ports.target import Target
from modelwright.ports.trainer import Trainer
from modelwright.testing.blobs import InMemoryBlobs
from modelwright.testing.clock import ManualClock
from modelwright.testing.record import InMemoryLog
from modelwright.testing.runner import FunctionRunners
from modelwright.testing.source import InMemorySource
from modelwright.testing.store import InMemoryStores
from modelwright.testing.target import InMemoryTarget
from modelwright.testing.trainer import FixedTrainer


def in_memory_platform(
    home: Path,
    *,
    clock: Clock | None = None,
    log: PredictionLog | None = None,
    target: Target | None = None,
    source: Source | None = None,
    runners: RunnerLoader | None = None,
    trainer: Trainer | None = None,
    frameworks: Sequence[Framework] = (),
    channels: Sequence[Channel] = (),
    policies: Mapping[str, ModelPolicy] | None = None,
    signer: Callable[[Manifest], bytes] | None = None,
) -> Platform:
    """The fakes of all ports; what is given takes the place of a fake.

    Args:
        home: scratch directory of the stories.
        clock: a :class:`~modelwright.testing.clock.ManualClock` where not given; the stores read it too.
        log: an empty log where not given.
        target: one gateway that serves at once where not given.
        source: no file at all where not given.
        runners: no model at all where not given.
        trainer: one that writes nothing where not given.
        frameworks: none where not given.
        channels: none where not given.
        policies: by model name; the defaults where not given.
        signer: makes signatures; nothing is signed where not given.
    """
    time = clock or ManualClock()
    stores = InMemoryStores(time.now)
    return Platform(
        home=home,
        clock=time,
        blobs=InMemoryBlobs(),
        versions=stores.versions,
        routes=stores.routes,
        ledger=stores.ledger,
        tokens=stores.tokens,
        findings=stores.findings,
        log=log or InMemoryLog(),
        target=target or InMemoryTarget(),
        source=source or InMemorySource(),
        runners=runners or FunctionRunners({}),
        frameworks=frameworks,
        trainer=trainer or FixedTrainer(lambda _recorded, _work: 0),
        channels=channels,
        policies=policies or {},
        trust=stores.trust,
        signer=signer,
    )
