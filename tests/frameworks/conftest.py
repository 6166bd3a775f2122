"""Tests here import heavy libraries: they are looked at only where ``-m frameworks`` asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path, config):
    asked = config.getoption("markexpr")
    return None if "frameworks" in asked and "not frameworks" not in asked else True


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.frameworks)
