"""The section ``settings`` of the project file: changed in place, comments and all, and taken back."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelwright.core.errors import BadInputError, ConflictError, NotFoundError

SECTION = "settings"
_HEAD = re.compile(rf"^{SECTION}:\s*(#.*)?$", re.MULTILINE)


def change(path: Path, values: Mapping[str, object]) -> dict[str, object]:
    """Set these settings in the file (made where there is none); gives their former values there, None: not there.

    What the file was is kept beside it until the next change, for :func:`restore`.

    Raises:
        BadInputError: ``project.not-changed`` when the section cannot be changed safely; the file is as it was.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else None
    held = _parsed(path, before or "")
    section = held.get(SECTION) or {}
    after = changed(before or "", values)
    expected = {**held, SECTION: {**section, **values}}
    elsewhere = SECTION in held and _HEAD.search(before or "") is None  # a second section would hide the first
    if elsewhere or _parsed(path, after) != expected:
        raise BadInputError(
            "project.not-changed",
            f"The section `{SECTION}` of {path.name} is written in a way that cannot be changed safely.",
            fix=f"Write it yourself: {SECTION}: {json.dumps(dict(values))}",
        )
    kept = {"before": before, "after": _digest(after)}
    _replace(_kept(path), json.dumps(kept))
    _replace(path, after)
    return {name: section.get(name) for name in values}


def restore(path: Path) -> None:
    """Make the file what it was before the last :func:`change`.

    Raises:
        NotFoundError: ``project.nothing-to-undo``.
        ConflictError: ``project.changed-since``: somebody has edited it.
    """
    try:
        kept: dict[str, Any] = json.loads(_kept(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(
            "project.nothing-to-undo",
            f"Nothing was applied to {path.name}.",
            fix="`modelwright bench NAME --tune --apply` writes there.",
        ) from None
    now = path.read_text(encoding="utf-8") if path.exists() else ""
    if _digest(now) != kept["after"]:
        raise ConflictError(
            "project.changed-since",
            f"{path.name} was edited since the settings were applied.",
            fix=f"Edit its section `{SECTION}` by hand; what it was is in {_kept(path).name}.",
        )
    if kept["before"] is None:
        path.unlink()
    else:
        _replace(path, kept["before"])
    _kept(path).unlink()


def changed(text: str, values: Mapping[str, object]) -> str:
    """The text with these keys set in its top-level section; every other line is as it was."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if _HEAD.match(line)), None)
    if start is None:
        lines += [*([""] if lines and lines[-1].strip() else []), f"{SECTION}:"]
        start = len(lines) - 1
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or lines[end][0] in " #"):
        end += 1
    while end > start + 1 and not lines[end - 1].strip():
        end -= 1
    body = lines[start + 1 : end]
    found = re.match(r"( +)\S", next((line for line in body if not line.lstrip().startswith("#") and line.strip()), ""))
    indent = found[1] if found else "  "
    for name, value in values.items():
        line = f"{indent}{name}: {json.dumps(value)}"
        place = next((n for n, old in enumerate(body) if re.match(rf"{indent}{re.escape(name)}:", old)), None)
        if place is None:
            body.append(line)
        else:
            comment = re.search(r"\s+#.*$", body[place])
            body[place] = line + (comment[0] if comment else "")
    return "\n".join([*lines[: start + 1], *body, *lines[end:]]) + "\n"


def _parsed(path: Path, text: str) -> dict[str, Any]:
    import yaml  # lazy: 20 ms

    try:
        held = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInputError(
            "project.not-changed", f"{path.name} is no YAML.", why=" ".join(str(error).split()), fix="Repair it first."
        ) from error
    if held is not None and not isinstance(held, dict):
        raise BadInputError("project.not-changed", f"{path.name} is no mapping.", fix="Repair it first.")
    return held or {}


def _kept(path: Path) -> Path:
    return path.with_name(f".{path.name}.before-bench")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _replace(path: Path, text: str) -> None:
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.write_text(text, encoding="utf-8")
    if path.exists():
        staged.chmod(path.stat().st_mode & 0o777)
    staged.replace(path)
