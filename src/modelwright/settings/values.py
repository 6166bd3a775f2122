"""What the settings of a process are, each with its type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelwright.core.native import Isolation


@dataclass(frozen=True, slots=True)
class Settings:
    """The parsed settings; one field per row of :data:`modelwright.settings.table.SETTINGS`."""

    home: Path
    project: Path
    operator: str
    http: str
    grpc: str
    control: str
    url: str
    token: str
    ca: str
    tls_certificate: str
    tls_key: str
    tls_client_ca: str
    signing_key: str
    signing_passphrase: str
    trusted_keys: str
    predict_route: str
    health_route: str
    log_mode: str
    open_predictions: bool
    log_required: bool
    log_tensor_bytes: int
    segment_bytes: int
    max_body_bytes: int
    max_header_bytes: int
    max_connections: int
    max_connections_per_address: int
    header_seconds: float
    body_bytes_per_second: int
    request_seconds: float
    stream_seconds: float
    sequence_idle_seconds: float
    max_sequences: int
    queue_seconds: float
    drain_seconds: float
    threads: int
    device: str
    device_memory_bytes: int
    kernels: bool
    native_isolation: Isolation
    native_idle_share: float
    native_environments: Literal["exact", "own", "server"]
    environments_bytes: int
    native_instances: int
    native_memory_bytes: int
    memory_budget: int
    pinned: frozenset[str]
    cache_bytes: int
    cache_models: frozenset[str]
    workers: int
    spare: bool
    access_log: str
    access_log_ratio: float
    otlp_endpoint: str
    trace_ratio: float
    keep_seconds: float
