"""``python -m modelwright`` is the ``modelwright`` command."""

from __future__ import annotations

import sys

from modelwright.interfaces.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
