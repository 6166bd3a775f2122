"""The lock of a model that is being packed: with digests of wheels, or as its requirements file declares it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from modelwright.adapters.environments.pip import wheel_digests
from modelwright.core.errors import UnavailableError
from modelwright.core.lock import Pin, pins, with_wheels
from modelwright.ports.framework import Conversion


def hashed(conversion: Conversion, wheelhouse: Path | None = None) -> Conversion:
    """The same with the digest of each distribution's wheel; where they cannot be had, ``notes["lock"]`` says why."""
    locked = pins(conversion.environment)
    lacking = [pin for pin in locked if not pin.wheel_sha256]
    try:
        with tempfile.TemporaryDirectory(prefix="modelwright-lock-") as folder:
            found = wheel_digests(lacking, Path(folder), wheelhouse=wheelhouse) if lacking else {}
        said = f"Digests of wheels: all {len(locked)}."
    except UnavailableError as error:
        found, said = {}, f"No digests of wheels: {error.why}"
    return _with(conversion, with_wheels(locked, found), said)


def declared(conversion: Conversion, locked: Sequence[Pin], file: str) -> Conversion:
    """The same with what a requirements file was resolved to."""
    known = {pin.name: pin.record_sha256 for pin in pins(conversion.environment)}
    rows = [replace(pin, record_sha256=known.get(pin.name, "")) for pin in locked]
    return _with(conversion, rows, f"As {file} says, digests of wheels: all {len(rows)}.")


def _with(conversion: Conversion, locked: Sequence[Pin], said: str) -> Conversion:
    rows = tuple(pin.to_row() for pin in locked)
    return replace(conversion, environment=rows, notes=conversion.notes | {"lock": said})
