"""The lock of a model's environment: exact distributions, as requirement lines that an installer can check."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from modelwright.core.errors import CorruptError
from modelwright.core.package import canonical_json

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?\Z")
_VERSION = re.compile(r"[0-9][a-z0-9.!+_-]{0,98}\Z")
_DIGEST = re.compile(r"(?:[0-9a-f]{64})?\Z")
_SEPARATORS = re.compile(r"[-_.]+")
MAX_PINS = 2000


@dataclass(frozen=True, slots=True)
class Pin:
    """One distribution: its normal name, its version, the hex SHA-256 of its RECORD as installed, and of its wheel.

    A digest that is not known is empty.
    """

    name: str
    version: str
    record_sha256: str = ""
    wheel_sha256: str = ""

    @property
    def line(self) -> str:
        """The requirement, with the wheel's digest where it is known."""
        known = f" --hash=sha256:{self.wheel_sha256}" if self.wheel_sha256 else ""
        return f"{self.name}=={self.version}{known}"

    def to_row(self) -> dict[str, str]:
        """As ``environment.json`` holds it."""
        row = {"name": self.name, "version": self.version, "record_sha256": self.record_sha256}
        return row | ({"wheel_sha256": self.wheel_sha256} if self.wheel_sha256 else {})


def read_pins(rows: Iterable[Mapping[str, str]]) -> tuple[Pin, ...]:
    """The rows of ``environment.json``, which a stranger may have written: nothing in them but names and versions.

    Raises:
        CorruptError: ``package.malformed``.
    """
    return tuple(_pin(row) for row in rows)


def pins(rows: Iterable[Mapping[str, str]]) -> tuple[Pin, ...]:
    """The rows as a lock: each distribution in one version, by name.

    Raises:
        CorruptError: ``package.malformed``.
    """
    found: dict[str, Pin] = {}
    for pin in read_pins(rows):
        if found.setdefault(pin.name, pin).version != pin.version or len(found) > MAX_PINS:
            raise _no_lock(pin)
    return tuple(found[name] for name in sorted(found))


def _pin(row: Mapping[str, str]) -> Pin:
    pin = Pin(
        normal_name(row.get("name", "")),
        row.get("version", "").lower(),
        row.get("record_sha256", ""),
        row.get("wheel_sha256", ""),
    )
    digests = (pin.record_sha256, pin.wheel_sha256)
    if not _NAME.match(pin.name) or not _VERSION.match(pin.version) or not all(map(_DIGEST.match, digests)):
        raise _no_lock(pin)
    return pin


def _no_lock(pin: Pin) -> CorruptError:
    return CorruptError(
        "package.malformed",
        "The lock of the package's environment is not one.",
        why=f"{f'{pin.name} {pin.version}'[:80]!r} is no name with one exact version.",
        fix="Pack the model again.",
    )


def requirements(locked: Iterable[Pin]) -> str:
    """``requirements.txt``."""
    return "".join(f"{pin.line}\n" for pin in locked)


def with_wheels(locked: Iterable[Pin], wheels: Mapping[str, str]) -> tuple[Pin, ...]:
    """The same distributions with the digests of their wheels, by name."""
    return tuple(replace(pin, wheel_sha256=wheels.get(pin.name, pin.wheel_sha256)) for pin in locked)


def lock_digest(locked: Iterable[Pin], *, python: str, machine: str) -> str:
    """Which environment a lock asks for: hex SHA-256 over names, versions, wheels, and what the wheels are for."""
    rows = [[pin.name, pin.version, pin.wheel_sha256] for pin in sorted(locked, key=lambda pin: pin.name)]
    return hashlib.sha256(canonical_json([rows, python, machine])).hexdigest()


def normal_name(name: str) -> str:
    """A distribution's name in its normal form (PEP 503)."""
    return _SEPARATORS.sub("-", name).lower()
