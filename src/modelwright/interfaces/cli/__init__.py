"""The ``modelwright`` command: reads arguments, calls the platform, prints. It decides nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code (see ``modelwright --help``)."""
    from modelwright.interfaces.cli.app import run  # lazy: `import modelwright.interfaces` must stay free

    code = run(sys.argv[1:] if argv is None else list(argv))
    if argv is None:
        sys.exit(code)
    return code
