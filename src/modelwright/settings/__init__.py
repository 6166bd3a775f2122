"""One declarative table of settings. The environment is read here and nowhere else.

A value given on the command line counts before the environment, that before the section ``settings`` of the project
file, and that before the default.
"""

from __future__ import annotations

from modelwright.settings.forms import MAX_WORKERS, address
from modelwright.settings.reading import colourless, environment_of, in_project, load, set_outside, token
from modelwright.settings.table import NOT_IN_THE_FILE, SETTINGS, Setting
from modelwright.settings.values import Settings

__all__ = [
    "MAX_WORKERS",
    "NOT_IN_THE_FILE",
    "SETTINGS",
    "Setting",
    "Settings",
    "address",
    "colourless",
    "environment_of",
    "in_project",
    "load",
    "set_outside",
    "token",
]
