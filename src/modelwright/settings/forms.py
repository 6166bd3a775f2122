"""What the text of a setting may be, and the value that it stands for.

What a row of the table parses with raises ValueError that says in a few words what the text is not.
"""

from __future__ import annotations

import re
from pathlib import Path

from modelwright.core.device import parse_devices
from modelwright.core.errors import BadInputError

MAX_WORKERS = 256


def flag(text: str) -> bool:
    """Yes or no."""
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ValueError("neither yes nor no")


def log_mode(text: str) -> str:
    """When the prediction log reaches the disk."""
    if text not in {"batched", "sync"}:
        raise ValueError("neither batched nor sync")
    return text


def isolation(text: str) -> str:
    """How much a model that runs as code is held."""
    if text not in {"off", "standard", "strict"}:
        raise ValueError("none of off, standard and strict")
    return text


def libraries(text: str) -> str:
    """Whose libraries a model that runs as code gets."""
    if text not in {"exact", "own", "server"}:
        raise ValueError("none of exact, own and server")
    return text


def device(text: str) -> str:
    """Devices in their order, as they were written; see :func:`modelwright.core.device.parse_devices`."""
    parse_devices(text)
    return text


def route(text: str) -> str:
    """A path of the data plane, or none."""
    if text and (not text.startswith("/") or not text.isprintable() or set(text) & set(" ?#{}%")):
        raise ValueError("no plain path")
    return text


def share(text: str) -> float:
    """A share from 0 to 1."""
    if not 0 <= float(text) <= 1:
        raise ValueError("not from 0 to 1")
    return float(text)


def collector(text: str) -> str:
    """A URL, or none."""
    if text and (not text.startswith(("http://", "https://")) or not text.isprintable() or " " in text):
        raise ValueError("no address that begins with http:// or https://")
    return text


def workers(text: str) -> int:
    """A number of processes."""
    if not 1 <= int(text) <= MAX_WORKERS:
        raise ValueError(f"not from 1 to {MAX_WORKERS}")
    return int(text)


def threads(text: str) -> int:
    """A number of threads; 0, also written ``auto``: all there are."""
    if text.strip().lower() == "auto":
        return 0
    if int(text) < 0:
        raise ValueError("below 0")
    return int(text)


def size(text: str) -> int:
    """A number of bytes; k, M, G and T are powers of 1024."""
    found = re.fullmatch(r"(\d+)\s*([kMGT]?)(?:i?B)?", text.strip())
    if found is None:
        raise ValueError("no number of bytes")
    return int(found[1]) << (10 * " kMGT".index(found[2] or " "))


def names(text: str) -> frozenset[str]:
    """Names separated by commas."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def path(text: str) -> Path:
    """A path; ``~`` is the account's home."""
    return Path(text).expanduser()


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
