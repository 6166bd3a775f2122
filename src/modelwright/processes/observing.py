"""Who is told of a gateway's requests, as the settings say."""

from __future__ import annotations

from modelwright.core.errors import UnavailableError
from modelwright.ports.events import EventSink
from modelwright.serve.observe import Observer
from modelwright.settings import Settings


def observer_of(settings: Settings, instance: str) -> Observer | None:
    """The observer of this process; None where nobody is told.

    Raises:
        UnavailableError: ``plugins.missing-extra``.
    """
    if not (settings.access_log or settings.otlp_endpoint):
        return None
    return Observer(
        _access_log(settings.access_log) if settings.access_log else None,
        settings.access_log_ratio,
        _traces(settings.otlp_endpoint, instance) if settings.otlp_endpoint else None,
        settings.trace_ratio,
    )


def dropped(sink: EventSink | None) -> int:
    """Events that a sink did not deliver."""
    return 0 if sink is None else sink.dropped


def _access_log(target: str) -> EventSink:
    from modelwright.adapters.observers.access_log import AccessLog  # lazy: off by default

    return AccessLog(target)


def _traces(endpoint: str, instance: str) -> EventSink:
    try:
        from modelwright.adapters.observers.otlp import OtlpTraces  # lazy: an extra, and 0.2 s of imports
    except ImportError as error:
        raise UnavailableError(
            "plugins.missing-extra", f"{error.name} is not installed.", fix="pip install 'modelwright[otel]'"
        ) from error
    return OtlpTraces(endpoint, instance)
