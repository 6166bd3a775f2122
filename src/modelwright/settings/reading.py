"""Reads the environment and the section ``settings`` of the project file, and hands on the environment to processes."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from modelwright.core.errors import BadInputError
from modelwright.settings.table import NOT_IN_THE_FILE, SETTINGS, Setting
from modelwright.settings.values import Settings


def load(overrides: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the project file, over it the environment, over that overrides (already typed; None: not given).

    Raises:
        BadInputError: ``settings.invalid`` when a value cannot be parsed; what :func:`in_project` raises.
    """
    environment = os.environ if environ is None else environ
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    values: dict[str, Any] = {}
    held: Mapping[str, str] | None = None
    for setting in SETTINGS:
        if setting.name in given:
            values[setting.name] = given[setting.name]
            continue
        if held is None and setting.name not in NOT_IN_THE_FILE:
            held = in_project(values["project"])
        text, place = _text(setting, environment, held or {})
        try:
            values[setting.name] = setting.parse(text)
        except ValueError as error:
            raise BadInputError(
                "settings.invalid",
                f"Setting {place}={text!r} cannot be used: {error}.",
                fix=f"{setting.help} Default: {setting.default}.",
            ) from error
    unknown = set(given) - {field.name for field in fields(Settings)}
    if unknown:
        raise BadInputError("settings.unknown", f"Unknown settings: {', '.join(sorted(unknown))}.")
    return Settings(**values)


def in_project(path: Path) -> dict[str, str]:
    """The section ``settings`` of the project file, as text; empty where there is no file, or no such section.

    Raises:
        BadInputError: ``settings.bad-file`` when the file or the section cannot be read, ``settings.unknown`` for a
            name that is no setting, or not one for a file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError("settings.bad-file", f"{path.name} cannot be read.", why=f"{error}.") from error
    if "settings" not in text:
        return {}
    import yaml  # lazy: 20 ms, for those who keep settings in the file

    try:
        held = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}  # whoever needs the rest of the file says what is wrong with it
    section = held.get("settings") if isinstance(held, dict) else None
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise BadInputError(
            "settings.bad-file",
            f"`settings` in {path.name} is no mapping.",
            fix="Write `settings:`, below it `name: value`.",
        )
    allowed = {setting.name for setting in SETTINGS} - NOT_IN_THE_FILE
    for name in section:
        if name not in allowed:
            near = difflib.get_close_matches(str(name), allowed, n=1)
            fix = f"Did you mean {near[0]!r}?" if near else "`modelwright settings` lists them."
            raise BadInputError("settings.unknown", f"{path.name} has an unknown setting {str(name)[:80]!r}.", fix=fix)
    return {name: str(value) for name, value in section.items() if value is not None}


def _text(setting: Setting, environment: Mapping[str, str], held: Mapping[str, str]) -> tuple[str, str]:
    """The value as text, and the name of the place it comes from."""
    if setting.variable in environment:
        return environment[setting.variable], setting.variable
    if setting.name in held:
        return held[setting.name], setting.name
    theirs = environment.get(setting.vertex) if environment.get("AIP_MODE") == "PREDICTION" else None
    return (setting.vertex_form.format(theirs) if theirs else setting.default), setting.variable


def set_outside(names: Iterable[str], environ: Mapping[str, str] | None = None) -> list[str]:
    """The variables of these settings that the environment sets: what a file says of them does not count."""
    environment = os.environ if environ is None else environ
    return [variable for name in names if (variable := f"MODELWRIGHT_{name.upper()}") in environment]


def environment_of(changes: Mapping[str, object], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a process of ours, with these settings changed."""
    environment = dict(os.environ if environ is None else environ)
    environment.update({f"MODELWRIGHT_{name.upper()}": str(value) for name, value in changes.items()})
    return environment


def colourless(environ: Mapping[str, str] | None = None) -> bool:
    """True where the person asked for no colour (https://no-color.org) or the terminal can show none."""
    environment = os.environ if environ is None else environ
    return bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"


def token(environ: Mapping[str, str] | None = None) -> str:
    """The access token of a command that asks a server; no row of the table, which is shown."""
    environment = os.environ if environ is None else environ
    return environment.get("MODELWRIGHT_TOKEN", "")
