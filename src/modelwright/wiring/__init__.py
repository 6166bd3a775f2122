"""Settings and entry points to one frozen Platform: the only package that knows stages and adapters.

Its functions import the adapters that they need when they are called: a command that only prints --help or reads a
package must not pay for SQL, DuckDB and the rest.
"""

from __future__ import annotations

from modelwright.wiring.entries import channels, listed_frameworks, plugin, plugins
from modelwright.wiring.home import change_settings, private_home, restore_settings, serve_alone
from modelwright.wiring.libraries import (
    Locking,
    environments,
    environments_needed,
    lock_of,
    locking,
    place,
    resolve,
)
from modelwright.wiring.local import file_source, frameworks, graphs, workbench
from modelwright.wiring.models import mlflow_folders, runners
from modelwright.wiring.opened import SystemClock, platform, workflow
from modelwright.wiring.packages import (
    in_mlflow,
    local_model,
    look_into,
    open_package,
    registered,
    save_package,
    signer,
    variants,
)

__all__ = [
    "Locking",
    "SystemClock",
    "change_settings",
    "channels",
    "environments",
    "environments_needed",
    "file_source",
    "frameworks",
    "graphs",
    "in_mlflow",
    "listed_frameworks",
    "local_model",
    "lock_of",
    "locking",
    "look_into",
    "mlflow_folders",
    "open_package",
    "place",
    "platform",
    "plugin",
    "plugins",
    "private_home",
    "registered",
    "resolve",
    "restore_settings",
    "runners",
    "save_package",
    "serve_alone",
    "signer",
    "variants",
    "workbench",
    "workflow",
]
