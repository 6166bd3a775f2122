"""A folder's own ``requirements.txt``: exact versions, as the environment lock keeps them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from modelwright.core.errors import BadInputError
from modelwright.core.lock import normal_name

FILE = "requirements.txt"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*==\s*([A-Za-z0-9.!+_-]+)((?:\s+--hash=sha256:[0-9a-f]{64})*)\s*\Z")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


def pinned(path: Path) -> tuple[dict[str, str], ...]:
    """``name``, ``version``, and ``wheel_sha256`` where one is given, of each line; of several none says which it is.

    Raises:
        BadInputError: ``pack.bad-requirements``: a line is not NAME==VERSION, or not the version that is installed.
    """
    found = []
    for line in _lines(path):
        match = _PIN.match(line)
        if match is None:
            raise _refused(
                f"{FILE} has the line {line[:80]!r}.",
                "A package's environment is exact versions: NAME==VERSION, with --hash=sha256:... where known.",
                "Write exact versions, as `pip freeze` does.",
            )
        name, wanted, digests = normal_name(match[1]), match[2], _HASH.findall(match[3])
        _require_same(name, wanted)
        found.append({"name": name, "version": wanted} | ({"wheel_sha256": digests[0]} if len(digests) == 1 else {}))
    return tuple(found)


def _lines(path: Path) -> Iterator[str]:
    """Lines as pip joins them, without comments."""
    for line in path.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ").splitlines():
        bare = re.sub(r"(^|\s)#.*", "", line).strip()
        if bare:
            yield bare


def _require_same(name: str, wanted: str) -> None:
    try:
        held = version(name)
    except PackageNotFoundError:
        return  # what the model imports and is not here fails when it is asked; the rest is for where it is served
    if held != wanted:
        raise _refused(
            f"{FILE} asks for {name} {wanted}, and {held} is installed here.",
            "The package's answers are given here, with what is installed.",
            f"Install {name}=={wanted} beside modelwright, or write {name}=={held}.",
        )


def merged(lock: Sequence[dict[str, str]], pins: Sequence[dict[str, str]]) -> tuple[dict[str, str], ...]:
    """The lock with the pins in it, by name; a pin keeps the digest of what is installed."""
    rows = {row["name"]: row for row in lock}
    for pin in pins:
        rows[pin["name"]] = {"record_sha256": ""} | rows.get(pin["name"], {}) | pin
    return tuple(rows[name] for name in sorted(rows))


def _refused(what: str, why: str, fix: str) -> BadInputError:
    return BadInputError("pack.bad-requirements", what, why=why, fix=fix)
