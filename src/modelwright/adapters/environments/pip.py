"""What pip is asked: digests of wheels, and to install exactly those. It runs no code of what it installs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from modelwright.core.errors import BadInputError, UnavailableError
from modelwright.core.lock import Pin, normal_name, pins, requirements

SECONDS = 1800.0
_ALWAYS = ("--only-binary", ":all:", "--disable-pip-version-check", "--no-input", "--quiet")


def install(locked: Sequence[Pin], site: Path, *, wheelhouse: Path | None, trust_index: bool) -> None:
    """Put the wheels into the folder ``site``: those of the recorded digests and no others, unless an index is trusted.

    Raises:
        UnavailableError: ``environment.pip-failed``.
    """
    listed = site.parent / "requirements.txt"
    listed.write_text(requirements(locked))
    checked = () if trust_index and not all(pin.wheel_sha256 for pin in locked) else ("--require-hashes",)
    _pip(["--no-deps", *checked, "--target", str(site), "-r", str(listed)], wheelhouse)


def wheel_digests(locked: Sequence[Pin], folder: Path, *, wheelhouse: Path | None) -> dict[str, str]:
    """Hex SHA-256 of each distribution's wheel for this machine, by name, as the configured index tells.

    Raises:
        UnavailableError: ``environment.pip-failed``.
    """
    listed = folder / "requirements.txt"
    listed.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in locked))
    report = _report(["--no-deps", "-r", str(listed)], wheelhouse)
    return {pin.name: pin.wheel_sha256 for pin in _reported(report)}


def resolve(wanted: Path, *, wheelhouse: Path | None) -> tuple[Pin, ...]:
    """All that a requirements file asks for, with what that needs, as exact wheels for this machine.

    Raises:
        BadInputError: ``environment.not-resolved``.
    """
    try:
        return _reported(_report(["-r", str(wanted)], wheelhouse))
    except UnavailableError as error:
        raise BadInputError(
            "environment.not-resolved",
            f"The requirements in {wanted.name} cannot be met with wheels for this Python and machine.",
            why=error.why,
            fix="Correct the file; give --wheelhouse FOLDER for what no index holds.",
        ) from error


def _report(arguments: Iterable[str], wheelhouse: Path | None) -> dict[str, Any]:
    said = _pip(["--dry-run", "--ignore-installed", "--report", "-", *arguments], wheelhouse)
    try:
        report: dict[str, Any] = json.loads(said)
    except ValueError as error:
        raise _failed("its report is no JSON") from error
    return report


def _reported(report: dict[str, Any]) -> tuple[Pin, ...]:
    rows = []
    for entry in report.get("install", []):
        about, archive = entry["metadata"], entry["download_info"].get("archive_info", {})
        digest = archive.get("hashes", {}).get("sha256", "")
        if digest and entry["download_info"]["url"].endswith(".whl"):
            rows.append({"name": normal_name(about["name"]), "version": about["version"], "wheel_sha256": digest})
        else:
            raise _failed(f"it tells no SHA-256 of a wheel of {about['name']}")
    return pins(rows)


def _pip(arguments: Sequence[str], wheelhouse: Path | None) -> str:
    source = ["--no-index", "--find-links", str(wheelhouse)] if wheelhouse is not None else []
    command = [sys.executable, "-I", "-m", "pip", "install", *_ALWAYS, *source, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(str(error)) from error
    if done.returncode != 0:
        raise _failed(_last_error(done.stderr) or f"it ended with status {done.returncode}")
    return done.stdout


def _last_error(said: str) -> str:
    lines = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    found = (errors or lines or [""])[0]
    return "".join(character for character in found[:300] if character.isprintable()).rstrip(".")


def _failed(why: str) -> UnavailableError:
    return UnavailableError(
        "environment.pip-failed",
        "pip did not find or install what the lock says.",
        why=f"{why[:1].upper()}{why[1:]}.",
        fix="Check that pip is installed here and reaches its index, or give --wheelhouse FOLDER with the wheels.",
    )
