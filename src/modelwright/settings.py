"""One declarative table of settings. The environment is read here and nowhere else.

A value given on the command line counts before the environment, that before the section ``settings`` of the project
file, and that before the default.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from modelwright.core.device import parse_devices
from modelwright.core.errors import BadInputError
from modelwright.core.native import IDLE_SHARE, Isolation

MAX_WORKERS = 256
NOT_IN_THE_FILE = frozenset({"home", "project", "operator", "signing_passphrase"})
"""Whose data, which file, and who acts are not for a project to say, and what opens a key is for no file."""


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


def _isolation(text: str) -> str:
    if text not in {"off", "standard", "strict"}:
        raise ValueError("none of off, standard and strict")
    return text


def _libraries(text: str) -> str:
    if text not in {"exact", "own", "server"}:
        raise ValueError("none of exact, own and server")
    return text


def _device(text: str) -> str:
    parse_devices(text)
    return text


def _route(text: str) -> str:
    if text and (not text.startswith("/") or not text.isprintable() or set(text) & set(" ?#{}%")):
        raise ValueError("no plain path")
    return text


def _share(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise ValueError("not from 0 to 1")
    return float(text)


def _collector(text: str) -> str:
    if text and (not text.startswith(("http://", "https://")) or not text.isprintable() or " " in text):
        raise ValueError("no address that begins with http:// or https://")
    return text


def _workers(text: str) -> int:
    if not 1 <= int(text) <= MAX_WORKERS:
        raise ValueError(f"not from 1 to {MAX_WORKERS}")
    return int(text)


def _threads(text: str) -> int:
    if text.strip().lower() == "auto":
        return 0
    if int(text) < 0:
        raise ValueError("below 0")
    return int(text)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)\s*([kMGT]?)(?:i?B)?", text.strip())
    if found is None:
        raise ValueError("no number of bytes")
    return int(found[1]) << (10 * " kMGT".index(found[2] or " "))


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _path(text: str) -> Path:
    return Path(text).expanduser()


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: the environment variable is ``MODELWRIGHT_`` + the upper-case name."""

    name: str
    parse: Callable[[str], Any]
    default: str
    help: str
    vertex: str = ""
    """Vertex AI's variable, read where ours is not set and Vertex AI says that this is its container."""
    vertex_form: str = "{}"
    secret: bool = False
    """Not to be shown."""

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"MODELWRIGHT_{self.name.upper()}"


SETTINGS: tuple[Setting, ...] = (
    Setting("home", _path, "~/.modelwright", "Data directory: registry, ledger, blobs, prediction log. Created 0700."),
    Setting("project", _path, "modelwright.yaml", "Project file with recipes, policies and alert channels."),
    Setting("operator", str, "", "Who acts on the command line, for the ledger; empty: the account's name."),
    Setting(
        "http",
        str,
        "127.0.0.1:8080",
        "Address of the data plane (predictions, ground truth, health); on Vertex AI 0.0.0.0:$AIP_HTTP_PORT.",
        vertex="AIP_HTTP_PORT",
        vertex_form="0.0.0.0:{}",
    ),
    Setting("grpc", str, "", "Address of the data plane over gRPC (needs the extra `grpc`); empty: none."),
    Setting("control", str, "127.0.0.1:8081", "Address of the control plane and the pages."),
    Setting("url", str, "", "URL of the data plane that `modelwright predict` asks; empty: made of `http`."),
    Setting("token", str, "", "Access token that `modelwright predict` shows the server.", secret=True),
    Setting("ca", str, "", "PEM file of the authority that signed the server's certificate; empty: the system's."),
    Setting("tls_certificate", str, "", "PEM file with the server's certificate chain; empty: no TLS."),
    Setting("tls_key", str, "", "PEM file with the certificate's private key, unencrypted."),
    Setting("tls_client_ca", str, "", "PEM file: clients of the data plane need a certificate of this CA (mTLS)."),
    Setting("signing_key", str, "", "PEM file of the private key that signs what is released; empty: none."),
    Setting("signing_passphrase", str, "", "What opens `signing_key`, where it has a passphrase.", secret=True),
    Setting(
        "trusted_keys",
        str,
        "",
        "PEM file or folder of public keys (*.pub): the data plane loads only what one of them signed; empty: all.",
    ),
    Setting(
        "predict_route",
        _route,
        "",
        "Path that also takes Vertex AI's requests; empty: none, on Vertex AI $AIP_PREDICT_ROUTE.",
        vertex="AIP_PREDICT_ROUTE",
    ),
    Setting(
        "health_route",
        _route,
        "",
        "Path that also says whether the data plane is ready; empty: none, on Vertex AI $AIP_HEALTH_ROUTE.",
        vertex="AIP_HEALTH_ROUTE",
    ),
    Setting(
        "log_mode", _log_mode, "batched", "Prediction log: `batched` syncs every 100 ms, `sync` before each answer."
    ),
    Setting(
        "open_predictions",
        _flag,
        "no",
        "Answer predictions that come without a token, as SageMaker and Vertex AI ask: whoever reaches the address may "
        "predict, and nothing else.",
    ),
    Setting("log_required", _flag, "no", "Refuse predictions (503) while the prediction log cannot be written."),
    Setting(
        "log_tensor_bytes",
        int,
        str(64 * 2**10),
        "Largest tensor of more than two dimensions (image, sound) that the prediction log keeps; columns always are.",
    ),
    Setting("segment_bytes", int, str(16 * 2**20), "Size in bytes at which a log segment is sealed."),
    Setting("max_body_bytes", int, str(8 * 2**20), "Largest request body in bytes, also after decompression."),
    Setting("max_header_bytes", int, str(16 * 2**10), "Largest request head in bytes."),
    Setting("max_connections", int, "1024", "Open connections of a gateway; more are refused, or slow ones dropped."),
    Setting(
        "max_connections_per_address", int, "0", "Open connections from one address; 0: any number (proxies share one)."
    ),
    Setting("header_seconds", float, "5", "Seconds a client has to send a request head."),
    Setting("body_bytes_per_second", int, "1024", "Slowest speed of a request body, after 5 seconds; 0: any speed."),
    Setting("request_seconds", float, "30", "Seconds a request may take, from its head to its answer."),
    Setting(
        "stream_seconds", float, "300", "Seconds an answer in chunks may take, from its request to its last event."
    ),
    Setting("sequence_idle_seconds", float, "60", "A sequence of requests that nobody asks about for so long is over."),
    Setting("max_sequences", int, "10000", "Sequences of requests that are open in a gateway at once."),
    Setting("queue_seconds", float, "0.3", "A request that would wait longer for its model is refused (503)."),
    Setting("drain_seconds", float, "30", "Seconds a stopping gateway waits for open requests."),
    Setting(
        "threads",
        _threads,
        "1",
        "Threads per loaded version, never more than its share of the cores allowed; `auto` or 0: all of that share.",
    ),
    Setting(
        "memory_budget",
        _bytes,
        "0",
        "Bytes (500M, 2G) of models that a gateway keeps in memory; others are loaded when asked for. 0: keep all.",
    ),
    Setting("pinned", _names, "", "Models that are kept in memory whatever else needs it, separated by commas."),
    Setting("cache_bytes", _bytes, "0", "Bytes (64M) of answers that a gateway keeps for equal requests; 0: none."),
    Setting(
        "cache_models",
        _names,
        "",
        "Models whose answers are kept, separated by commas; `*`: all. Only for models whose answers never vary.",
    ),
    Setting(
        "native_isolation",
        _isolation,
        "standard",
        "Jail that a model which runs as code holds at least: `off`, `standard` or `strict`; a package asks for more.",
    ),
    Setting(
        "native_idle_share",
        _share,
        str(IDLE_SHARE),
        "Share of a core that a process of such a model may use while no request is with it; above that for 5 s it is "
        "started again. 0: any.",
    ),
    Setting(
        "device",
        _device,
        "auto",
        "Devices that models run on, in the order in which they are tried: `auto`, or cpu, cuda, tensorrt, migraphx, "
        "openvino, coreml, dml, with numbers (`cuda:0,1,cpu`). Without cpu at the end there is no other way.",
    ),
    Setting(
        "device_memory_bytes",
        _bytes,
        "0",
        "Bytes (500M, 2G) that the arena of one ONNX model may take of a CUDA device; 0: any number.",
    ),
    Setting(
        "kernels",
        _flag,
        "no",
        "Run ensembles of trees by a kernel compiled here, where it is faster and gives the same bits "
        "(needs a C compiler and the extra `kernels`).",
    ),
    Setting(
        "native_environments",
        _libraries,
        "exact",
        "Libraries of a model that runs as code: the server's where it has all of its lock in those versions, else "
        "those built for it (`exact`); always those built for it (`own`); always the server's (`server`).",
    ),
    Setting("environments_bytes", _bytes, "0", "Bytes (20G) that built environments may take together; 0: no limit."),
    Setting("native_instances", _workers, "1", "Processes of each version that runs as code, in each gateway."),
    Setting(
        "native_memory_bytes", int, str(16 * 2**30), "Address space in bytes of a process of a model that runs as code."
    ),
    Setting("workers", _workers, "1", "Gateway processes of a server with a registry; one for each core it may use."),
    Setting(
        "spare",
        _flag,
        "yes",
        "Keep a process waiting that takes the place of a gateway that dies: that is faster, and costs memory.",
    ),
    Setting("access_log", str, "", "Where JSON lines of requests go: a file, or `stderr`; empty: nowhere."),
    Setting(
        "access_log_ratio", _share, "1", "Share of the successful requests in the access log; failed ones all are."
    ),
    Setting(
        "otlp_endpoint",
        _collector,
        "",
        "OpenTelemetry collector (OTLP over HTTP) that gets traces, for example http://127.0.0.1:4318 "
        "(needs the extra `otel`); empty: none.",
    ),
    Setting(
        "trace_ratio", _share, "0.01", "Share of the requests traced where the caller's `traceparent` says nothing."
    ),
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


def load(overrides: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the project file, over it the environment, over that overrides (already typed; None: not given).

    Raises:
        BadInputError: ``settings.invalid`` when a value cannot be parsed; what :func:`in_project` raises.
    """
    environment = os.environ if environ is None else environ
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    values: dict[str, Any] = {}
    held: Mapping[str, str] | None = None
    for setting in SETTINGS:
        if setting.name in given:
            values[setting.name] = given[setting.name]
            continue
        if held is None and setting.name not in NOT_IN_THE_FILE:
            held = in_project(values["project"])
        text, place = _text(setting, environment, held or {})
        try:
            values[setting.name] = setting.parse(text)
        except ValueError as error:
            raise BadInputError(
                "settings.invalid",
                f"Setting {place}={text!r} cannot be used: {error}.",
                fix=f"{setting.help} Default: {setting.default}.",
            ) from error
    unknown = set(given) - {field.name for field in fields(Settings)}
    if unknown:
        raise BadInputError("settings.unknown", f"Unknown settings: {', '.join(sorted(unknown))}.")
    return Settings(**values)


def in_project(path: Path) -> dict[str, str]:
    """The section ``settings`` of the project file, as text; empty where there is no file, or no such section.

    Raises:
        BadInputError: ``settings.bad-file`` when the file or the section cannot be read, ``settings.unknown`` for a
            name that is no setting, or not one for a file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError("settings.bad-file", f"{path.name} cannot be read.", why=f"{error}.") from error
    if "settings" not in text:
        return {}
    import yaml  # lazy: 20 ms, for those who keep settings in the file

    try:
        held = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}  # whoever needs the rest of the file says what is wrong with it
    section = held.get("settings") if isinstance(held, dict) else None
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise BadInputError(
            "settings.bad-file",
            f"`settings` in {path.name} is no mapping.",
            fix="Write `settings:`, below it `name: value`.",
        )
    allowed = {setting.name for setting in SETTINGS} - NOT_IN_THE_FILE
    for name in section:
        if name not in allowed:
            near = difflib.get_close_matches(str(name), allowed, n=1)
            fix = f"Did you mean {near[0]!r}?" if near else "`modelwright settings` lists them."
            raise BadInputError("settings.unknown", f"{path.name} has an unknown setting {str(name)[:80]!r}.", fix=fix)
    return {name: str(value) for name, value in section.items() if value is not None}


def _text(setting: Setting, environment: Mapping[str, str], held: Mapping[str, str]) -> tuple[str, str]:
    """The value as text, and the name of the place it comes from."""
    if setting.variable in environment:
        return environment[setting.variable], setting.variable
    if setting.name in held:
        return held[setting.name], setting.name
    theirs = environment.get(setting.vertex) if environment.get("AIP_MODE") == "PREDICTION" else None
    return (setting.vertex_form.format(theirs) if theirs else setting.default), setting.variable


def set_outside(names: Iterable[str], environ: Mapping[str, str] | None = None) -> list[str]:
    """The variables of these settings that the environment sets: what a file says of them does not count."""
    environment = os.environ if environ is None else environ
    return [variable for name in names if (variable := f"MODELWRIGHT_{name.upper()}") in environment]


def environment_of(changes: Mapping[str, object], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a process of ours, with these settings changed."""
    environment = dict(os.environ if environ is None else environ)
    environment.update({f"MODELWRIGHT_{name.upper()}": str(value) for name, value in changes.items()})
    return environment


def colourless(environ: Mapping[str, str] | None = None) -> bool:
    """True where the person asked for no colour (https://no-color.org) or the terminal can show none."""
    environment = os.environ if environ is None else environ
    return bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"


def token(environ: Mapping[str, str] | None = None) -> str:
    """The access token of a command that asks a server; no row of the table, which is shown."""
    environment = os.environ if environ is None else environ
    return environment.get("MODELWRIGHT_TOKEN", "")


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
