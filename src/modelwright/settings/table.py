"""The table: one row for each setting, in the order in which the reference lists them.

A new row comes with a field of :class:`modelwright.settings.values.Settings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelwright.core.native import IDLE_SHARE
from modelwright.settings.forms import (
    collector,
    device,
    flag,
    isolation,
    libraries,
    log_mode,
    names,
    path,
    route,
    share,
    size,
    threads,
    workers,
)

NOT_IN_THE_FILE = frozenset({"home", "project", "operator", "signing_passphrase"})
"""Whose data, which file, and who acts are not for a project to say, and what opens a key is for no file."""


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
    Setting("home", path, "~/.modelwright", "Data directory: registry, ledger, blobs, prediction log. Created 0700."),
    Setting("project", path, "modelwright.yaml", "Project file with recipes, policies and alert channels."),
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
        route,
        "",
        "Path that also takes Vertex AI's requests; empty: none, on Vertex AI $AIP_PREDICT_ROUTE.",
        vertex="AIP_PREDICT_ROUTE",
    ),
    Setting(
        "health_route",
        route,
        "",
        "Path that also says whether the data plane is ready; empty: none, on Vertex AI $AIP_HEALTH_ROUTE.",
        vertex="AIP_HEALTH_ROUTE",
    ),
    Setting(
        "log_mode", log_mode, "batched", "Prediction log: `batched` syncs every 100 ms, `sync` before each answer."
    ),
    Setting(
        "open_predictions",
        flag,
        "no",
        "Answer predictions that come without a token, as SageMaker and Vertex AI ask: whoever reaches the address may "
        "predict, and nothing else.",
    ),
    Setting("log_required", flag, "no", "Refuse predictions (503) while the prediction log cannot be written."),
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
        threads,
        "1",
        "Threads per loaded version, never more than its share of the cores allowed; `auto` or 0: all of that share.",
    ),
    Setting(
        "memory_budget",
        size,
        "0",
        "Bytes (500M, 2G) of models that a gateway keeps in memory; others are loaded when asked for. 0: keep all.",
    ),
    Setting("pinned", names, "", "Models that are kept in memory whatever else needs it, separated by commas."),
    Setting("cache_bytes", size, "0", "Bytes (64M) of answers that a gateway keeps for equal requests; 0: none."),
    Setting(
        "cache_models",
        names,
        "",
        "Models whose answers are kept, separated by commas; `*`: all. Only for models whose answers never vary.",
    ),
    Setting(
        "native_isolation",
        isolation,
        "standard",
        "Jail that a model which runs as code holds at least: `off`, `standard` or `strict`; a package asks for more.",
    ),
    Setting(
        "native_idle_share",
        share,
        str(IDLE_SHARE),
        "Share of a core that a process of such a model may use while no request is with it; above that for 5 s it is "
        "started again. 0: any.",
    ),
    Setting(
        "device",
        device,
        "auto",
        "Devices that models run on, in the order in which they are tried: `auto`, or cpu, cuda, tensorrt, migraphx, "
        "openvino, coreml, dml, with numbers (`cuda:0,1,cpu`). Without cpu at the end there is no other way.",
    ),
    Setting(
        "device_memory_bytes",
        size,
        "0",
        "Bytes (500M, 2G) that the arena of one ONNX model may take of a CUDA device; 0: any number.",
    ),
    Setting(
        "kernels",
        flag,
        "no",
        "Run ensembles of trees by a kernel compiled here, where it is faster and gives the same bits "
        "(needs a C compiler and the extra `kernels`).",
    ),
    Setting(
        "native_environments",
        libraries,
        "exact",
        "Libraries of a model that runs as code: the server's where it has all of its lock in those versions, else "
        "those built for it (`exact`); always those built for it (`own`); always the server's (`server`).",
    ),
    Setting("environments_bytes", size, "0", "Bytes (20G) that built environments may take together; 0: no limit."),
    Setting("native_instances", workers, "1", "Processes of each version that runs as code, in each gateway."),
    Setting(
        "native_memory_bytes", int, str(16 * 2**30), "Address space in bytes of a process of a model that runs as code."
    ),
    Setting("workers", workers, "1", "Gateway processes of a server with a registry; one for each core it may use."),
    Setting(
        "spare",
        flag,
        "yes",
        "Keep a process waiting that takes the place of a gateway that dies: that is faster, and costs memory.",
    ),
    Setting("access_log", str, "", "Where JSON lines of requests go: a file, or `stderr`; empty: nowhere."),
    Setting("access_log_ratio", share, "1", "Share of the successful requests in the access log; failed ones all are."),
    Setting(
        "otlp_endpoint",
        collector,
        "",
        "OpenTelemetry collector (OTLP over HTTP) that gets traces, for example http://127.0.0.1:4318 "
        "(needs the extra `otel`); empty: none.",
    ),
    Setting(
        "trace_ratio", share, "0.01", "Share of the requests traced where the caller's `traceparent` says nothing."
    ),
    Setting("keep_seconds", float, "60", "Seconds between two rounds of keeping (seal, watch, order)."),
)
