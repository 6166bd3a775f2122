"""What is installed here, and whether it is what a lock says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from modelwright.core.lock import Pin, normal_name


def pin_of(installed: Distribution) -> Pin:
    """An installed distribution; the wheel's digest where it was installed from a file that the installer recorded."""
    record = installed.read_text("RECORD")
    digest = hashlib.sha256(record.encode()).hexdigest() if record else ""
    return Pin(normal_name(installed.name), installed.version, digest, _wheel_digest(installed))


def missing_from_here(locked: Iterable[Pin]) -> list[str]:
    """What this environment lacks of a lock, in words; empty where every distribution is there in its version.

    The digests of RECORD are not compared: it lists scripts too, whose first line names the environment that they are
    in, so that the same wheel has another RECORD in each.
    """
    said = []
    for pin in locked:
        try:
            installed = distribution(pin.name)
        except PackageNotFoundError:
            said.append(f"{pin.name} {pin.version} is not installed")
            continue
        if installed.version.lower() != pin.version:
            said.append(f"{pin.name} is {installed.version} here, the lock says {pin.version}")
    return said


def _wheel_digest(installed: Distribution) -> str:
    """From ``direct_url.json`` (PEP 610), which is there only for what did not come from an index."""
    try:
        origin = json.loads(installed.read_text("direct_url.json") or "{}")
        digest = origin.get("archive_info", {}).get("hashes", {}).get("sha256", "")
        return str(digest) if str(origin.get("url", "")).endswith(".whl") else ""
    except (ValueError, AttributeError):
        return ""
