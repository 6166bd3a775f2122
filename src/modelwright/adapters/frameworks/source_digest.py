"""The identity of a model that is several files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from modelwright.core.content import file_sha256
from modelwright.core.package import canonical_json


def files_sha256(files: Mapping[str, Path]) -> str:
    """Hex SHA-256 of the names of the files and of what they hold."""
    return hashlib.sha256(canonical_json({name: file_sha256(path) for name, path in files.items()})).hexdigest()
