"""One declarative table of settings. The environment is read here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from modelwright.core.errors import BadInputError


def _flag(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ValueError("neither yes nor no")


def _log_mode(text: str) -> str:
    if text not in {"batched", "sync"}:
        raise ValueError("neither batched nor sync")
    return text


def _path(text: str) -> Path:
    return Path(text).expanduser()


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: the environment variable is ``MODELWRIGHT_`` + the upper-case name."""

    name: str
    parse: Callable[[str], Any]
    default: str
    help: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"MODELWRIGHT_{self.name.upper()}"


SETTINGS: tuple[Setting, ...] = (
    Setting("home", _path, "~/.modelwright", "Data directory: registry, ledger, blobs, prediction log. Created 0700."),
    Setting("project", _path, "modelwright.yaml", "Project file with recipes, policies and alert channels."),
    Setting("operator", str, "", "Who acts on the command line, for the ledger; empty: the account's name."),
    Setting("http", str, "127.0.0.1:8080", "Address of the data plane (predictions, ground truth, health)."),
    Setting("grpc", str, "", "Address of the data plane over gRPC (needs the extra `grpc`); empty: none."),
    Setting("control", str, "127.0.0.1:8081", "Address of the control plane and the pages."),
    Setting("tls_certificate", str, "", "PEM file with the server's certificate chain; empty: no TLS."),
    Setting("tls_key", str, "", "PEM file with the certificate's private key, unencrypted."),
    Setting("tls_client_ca", str, "", "PEM file: clients of the data plane need a certificate of this CA (mTLS)."),
    Setting(
        "log_mode", _log_mode, "batched", "Prediction log: `batched` syncs every 100 ms, `sync` before each answer."
    ),
    Setting("log_required", _flag, "no", "Refuse predictions (503) while the prediction log cannot be written."),
    Setting("segment_bytes", int, str(16 * 2**20), "Size in bytes at which a log segment is sealed."),
    Setting("max_body_bytes", int, str(8 * 2**20), "Largest request body in bytes, also after decompression."),
    Setting("max_header_bytes", int, str(16 * 2**10), "Largest request head in bytes."),
    Setting("max_connections", int, "1024", "Open connections a gateway accepts; more are refused."),
    Setting("header_seconds", float, "5", "Seconds a client has to send a request head."),
    Setting("request_seconds", float, "30", "Seconds a request may take, from its head to its answer."),
    Setting("drain_seconds", float, "30", "Seconds a stopping gateway waits for open requests."),
    Setting("threads", int, "1", "ONNX Runtime threads per loaded version."),
    Setting("keep_seconds", float, "60", "Seconds between two rounds of keeping (seal, watch, order)."),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The parsed settings; one field per row of :data:`SETTINGS`."""

    home: Path
    project: Path
    operator: str
    http: str
    grpc: str
    control: str
    tls_certificate: str
    tls_key: str
    tls_client_ca: str
    log_mode: str
    log_required: bool
    segment_bytes: int
    max_body_bytes: int
    max_header_bytes: int
    max_connections: int
    header_seconds: float
    request_seconds: float
    drain_seconds: float
    threads: int
    keep_seconds: float


def load(overrides: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment, then from overrides (already typed; None means not given).

    Raises:
        BadInputError: ``settings.invalid`` when a variable cannot be parsed.
    """
    environment = os.environ if environ is None else environ
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        if setting.name in given:
            values[setting.name] = given[setting.name]
            continue
        text = environment.get(setting.variable, setting.default)
        try:
            values[setting.name] = setting.parse(text)
        except ValueError as error:
            raise BadInputError(
                "settings.invalid",
                f"Setting {setting.variable}={text!r} cannot be used: {error}.",
                fix=f"{setting.help} Default: {setting.default}.",
            ) from error
    unknown = set(given) - {field.name for field in fields(Settings)}
    if unknown:
        raise BadInputError("settings.unknown", f"Unknown settings: {', '.join(sorted(unknown))}.")
    return Settings(**values)


def colourless(environ: Mapping[str, str] | None = None) -> bool:
    """True where the person asked for no colour (https://no-color.org) or the terminal can show none."""
    environment = os.environ if environ is None else environ
    return bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"


def address(text: str) -> tuple[str, int]:
    """``host:port`` as (host, port).

    Raises:
        BadInputError: ``settings.bad-address``.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BadInputError(
            "settings.bad-address", f"{text!r} is not an address.", fix="Write HOST:PORT, for example 127.0.0.1:8080."
        )
    return host.strip("[]"), int(port)
