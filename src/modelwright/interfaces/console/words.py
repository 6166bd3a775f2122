"""Figures and times in words, as template filters."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec

from modelwright.ports.workflow import StoryState

DASH = "\N{EN DASH}"
SHORT = 32  # letters; longer texts in evidence are digests and keys
_THIN = "\N{NARROW NO-BREAK SPACE}"


def figure(value: Any, digits: int = 4) -> str:
    """A number with at most ``digits`` significant digits, whole from a thousand on; a dash where there is none."""
    if value is None or isinstance(value, str):
        return value or DASH
    number = float(value)
    if not math.isfinite(number):
        return DASH
    return f"{number:.0f}" if 1000 <= abs(number) < 1e7 else f"{number:.{digits}g}"


def count(value: Any) -> str:
    """A whole number with thin spaces between thousands."""
    return DASH if value is None else f"{int(value):,}".replace(",", _THIN)


def share(value: Any) -> str:
    """A share as a percentage."""
    if value is None or not math.isfinite(float(value)):
        return DASH
    percent = 100 * float(value)
    return f"{percent:.0f}{_THIN}%" if percent in {0, 100} else f"{percent:.1f}{_THIN}%"


def milliseconds(seconds: Any) -> str:
    """Seconds as milliseconds."""
    return (
        DASH if seconds is None or not math.isfinite(float(seconds)) else f"{figure(1000 * float(seconds), 3)}{_THIN}ms"
    )


def moment(value: Any) -> str:
    """Unix seconds or ISO 8601 as ``2026-03-01 12:30`` (UTC)."""
    if value is None or value == "":
        return DASH
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return str(value)
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when.strftime("%Y-%m-%d %H:%M")


def window(value: Any) -> str:
    """A window of event time; days alone where it starts and ends at midnight."""
    if value is None:
        return "everything"
    since, until = moment(value.since), moment(value.until)
    if since.endswith(" 00:00") and until.endswith(" 00:00"):
        since, until = since[:-6], until[:-6]
    return f"{since} to {until}"


def digest(value: Any) -> str:
    """The first twelve characters."""
    return str(value)[:12] or DASH


def words(value: Any) -> str:
    """``log_loss`` and ``new-category`` as words."""
    return str(value).replace("_", " ").replace("-", " ")


def pretty(value: Any) -> str:
    """A small record as one line of text: ``name: value`` pairs."""
    if not isinstance(value, dict):
        return str(value)
    plain = msgspec.to_builtins(value)
    return ", ".join(f"{key}: {_part(item)}" for key, item in plain.items())


def _part(item: Any) -> str:
    if isinstance(item, float):
        return figure(item)
    return msgspec.json.encode(item).decode() if isinstance(item, list | dict) else str(item)


def gist(value: Any) -> str:
    """A small record in a few words: short values as they are, lists as how many; no keys, digests or nesting."""
    plain = msgspec.to_builtins(value)
    parts = []
    for key, item in plain.items():
        if isinstance(item, list):
            parts.append(f"{words(key)} {len(item)}")
        elif isinstance(item, bool | int | float) or (isinstance(item, str) and 0 < len(item) <= SHORT):
            parts.append(f"{words(key)} {figure(item) if isinstance(item, float) else item}")
    return ", ".join(parts) or "evidence"


def chance(value: Any) -> str:
    """A p- or q-value; what a double cannot hold is below its smallest, not zero."""
    if value is None:
        return DASH
    return "< 1e-300" if float(value) < 1e-300 else figure(value, 2)


def typeset(value: Any) -> str:
    """A sentence of a finding with its arrows drawn, and kept with the figure before them."""
    return str(value).replace(" -> ", "\N{NO-BREAK SPACE}\N{RIGHTWARDS ARROW} ")


def outcome(state: StoryState) -> str:
    """How a story ended, in a sentence."""
    if state.error is not None:
        return str(state.error.get("what", "failed"))
    result = state.result or {}
    if "report" in result:
        report = result["report"]
        found = len(report.get("findings", ()))
        return f"{count(found)} finding{'' if found == 1 else 's'} in {count(report.get('rows'))} rows"
    why, word = result.get("why", ""), str(result.get("outcome", ""))
    return f"{word}: {why}" if word and why else str(why or word)


FILTERS = {
    "gist": gist,
    "chance": chance,
    "outcome": outcome,
    "typeset": typeset,
    "figure": figure,
    "count": count,
    "share": share,
    "ms": milliseconds,
    "moment": moment,
    "window": window,
    "digest": digest,
    "words": words,
    "pretty": pretty,
}
