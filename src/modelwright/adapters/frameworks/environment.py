"""The environment lock: installed distributions a model's classes come from, and all they require."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions

from modelwright.core.lock import normal_name
from modelwright.native.installed import pin_of

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def environment(modules: Iterable[str], *, alone: Collection[str] = ()) -> tuple[dict[str, str], ...]:
    """``name``, ``version`` and ``record_sha256`` of the distributions behind the modules and of their requirements.

    Requirements are followed through Requires-Dist as far as they are installed; those of extras are not. The digest
    is of the distribution's RECORD (which lists the digest of each installed file), empty where there is none;
    ``wheel_sha256`` is there where the installer recorded it. What the distributions ``alone`` (by normal name)
    require is left out: nothing that serves the model imports it.
    """
    owners = packages_distributions()
    waiting = {name for module in modules for name in owners.get(module.partition(".")[0], ())}
    found: dict[str, Distribution] = {}
    while waiting:
        name = waiting.pop()
        key = normal_name(name)
        if key in found:
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue  # required on another platform only
        found[key] = installed
        if key not in alone:
            waiting |= {required for line in installed.requires or () if (required := _required(line))}
    return tuple(pin_of(installed).to_row() for _, installed in sorted(found.items()))


def _required(line: str) -> str:
    requirement, _, marker = line.partition(";")
    match = _REQUIREMENT.match(requirement)
    return match.group(1) if match and "extra" not in marker else ""
