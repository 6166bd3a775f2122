"""Everything a story may reach, as one frozen record of ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelwright.core.signature import AS_SEEN, InputPolicy

if TYPE_CHECKING:
    from modelwright.core.package import Manifest, Package
    from modelwright.ports.blobs import BlobStore
    from modelwright.ports.channel import Channel
    from modelwright.ports.clock import Clock
    from modelwright.ports.framework import Framework
    from modelwright.ports.record import PredictionLog
    from modelwright.ports.runner import ChooseKernel, RunnerLoader
    from modelwright.ports.source import Source
    from modelwright.ports.store import FindingStore, Ledger, RouteStore, TokenStore, TrustStore, VersionStore
    from modelwright.ports.target import Target
    from modelwright.ports.trainer import Recipe, Trainer


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """What ``modelwright.yaml`` says of one model; the defaults are what a model without an entry gets.

    ``canary_weight`` is the share of requests, ``canary_requests`` how many canary answers a promotion needs,
    ``canary_timeout`` the seconds after which a canary without enough evidence fails safe to the champion
    (0 = promote at once, without a canary). ``margin`` is how much worse (relative) a candidate's upper bound may be.
    ``gates`` maps metric name to the least (or, for losses, the largest) value that passes. ``inputs`` is packed with
    every new version of the model. ``signed`` names where a signature by a trusted key is asked for: the aliases
    ``champion``, ``challenger`` and ``shadow``, and ``register``: any version at all. ``slices`` are the columns by
    whose values a candidate is measured again; ``max_slice_gap`` maps metric name to how much worse a group may be.
    """

    recipe: Recipe | None = None
    schedule: str = ""
    on_findings: tuple[str, ...] = ()
    cooldown_seconds: float = 3600.0
    canary_weight: float = 0.1
    canary_requests: int = 500
    canary_timeout: float = 600.0
    margin: float = 0.01
    gates: Mapping[str, float] | None = None
    latency_budget_ms: float = 50.0
    keep_shadow: str = ""
    inputs: InputPolicy = AS_SEEN
    signed: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    max_slice_gap: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Platform:
    """A frozen record of ports; no methods.

    ``signer`` makes the signature of a package, where a key is set; ``open_package`` opens one from a path; ``kernels``
    is asked about every model that is packed; ``local_model`` gives the path of a model that is named by a path or by
    where another registry keeps it, good until the block ends.
    """

    home: Path
    clock: Clock
    blobs: BlobStore
    versions: VersionStore
    routes: RouteStore
    ledger: Ledger
    tokens: TokenStore
    findings: FindingStore
    log: PredictionLog
    target: Target
    source: Source
    runners: RunnerLoader
    frameworks: Sequence[Framework]
    trainer: Trainer
    channels: Sequence[Channel]
    policies: Mapping[str, ModelPolicy]
    trust: TrustStore
    signer: Callable[[Manifest], bytes] | None = None
    open_package: Callable[[Path], Package] | None = None
    kernels: ChooseKernel | None = None
    local_model: Callable[[str], AbstractContextManager[str]] = nullcontext
