"""Who is told of a gateway's requests, as the settings say."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from modelwright.core.errors import BadInputError, UnavailableError
from modelwright.ports.events import EventSink
from modelwright.serve.observe import Observer
from modelwright.settings import Settings

SWITCH_SECONDS = 0.0005
"""A request waits at most so long for the thread that makes spans to give way; as a rule it is 5 ms."""
_OTEL = ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def observer_of(settings: Settings, instance: str) -> Observer | None:
    """The observer of this process; None where nobody is told."""
    if not (settings.access_log or settings.otlp_endpoint):
        return None
    if settings.otlp_endpoint:
        sys.setswitchinterval(SWITCH_SECONDS)
    return Observer(
        _access_log(settings.access_log) if settings.access_log else None,
        settings.access_log_ratio,
        _traces(settings.otlp_endpoint, instance) if settings.otlp_endpoint else None,
        settings.trace_ratio,
    )


def require_usable(settings: Settings, traced_by: Sequence[str] = _OTEL) -> None:
    """Say what is wrong with the settings before anything is served, rather than drop lines and traces later.

    Args:
        settings: the access log and the collector.
        traced_by: what traces need to be installed.

    Raises:
        BadInputError: ``settings.access-log-unusable``.
        UnavailableError: ``plugins.missing-extra``.
    """
    target = settings.access_log
    if target not in ("", "stderr"):
        path = Path(target).expanduser().absolute()
        usable = os.access(path if path.exists() else path.parent, os.W_OK) and not path.is_dir()
        if not usable:
            raise BadInputError(
                "settings.access-log-unusable",
                f"The access log {path} cannot be written.",
                fix="Set MODELWRIGHT_ACCESS_LOG to a file in a directory that is there and that you may write to.",
            )
    if settings.otlp_endpoint:
        missing = next((name for name in traced_by if importlib.util.find_spec(name) is None), None)
        if missing is not None:
            raise UnavailableError(
                "plugins.missing-extra", f"{missing} is not installed.", fix="pip install 'modelwright[otel]'"
            )


def dropped(sink: EventSink | None) -> int:
    """Events that a sink did not deliver."""
    return 0 if sink is None else sink.dropped


def _access_log(target: str) -> EventSink:
    from modelwright.adapters.observers.access_log import AccessLog  # lazy: off by default

    return AccessLog(target)


def _traces(endpoint: str, instance: str) -> EventSink:
    from modelwright.adapters.observers.otlp import OtlpTraces  # lazy: an extra, and 0.2 s of imports

    return OtlpTraces(endpoint, instance)
