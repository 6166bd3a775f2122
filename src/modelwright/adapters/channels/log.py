"""Alerts as one JSON line each in the process's own log."""

from __future__ import annotations

import json
import logging

from modelwright.core.finding import Alert, Severity
from modelwright.core.record_codec import to_json

_LEVELS: dict[Severity, int] = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


class LogChannel:
    """Writes to the logger ``modelwright.alerts`` at the alert's severity; always delivers."""

    name = "log"

    def send(self, alert: Alert) -> None:
        """One line: ``{"event": "alert", "model": ..., "severity": ..., "title": ..., ...}``."""
        line = json.dumps({"event": "alert", **to_json(alert)}, sort_keys=True, default=str)
        logging.getLogger("modelwright.alerts").log(_LEVELS[alert.severity], "%s", line)
