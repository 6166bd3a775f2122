"""A program whose libraries are not ours: it is held before it can see, and so run, anything of them.

Of a folder of libraries not even the ``.pth`` files run before the jail is closed: ``-S`` leaves them alone for good.
"""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def command(module: str, *arguments: str) -> list[str]:
    """How to start a Python that sees its standard library and our own code, and calls ``main`` of a module of ours.

    ``arguments`` begin at ``sys.argv[1]``. The module may import nothing but the standard library until it is held.
    """
    program = (
        "import sys, importlib.util as u; "
        f"s = u.spec_from_file_location('modelwright', {str(_ROOT / '__init__.py')!r}, "
        f"submodule_search_locations=[{str(_ROOT)!r}]); "
        "m = u.module_from_spec(s); sys.modules['modelwright'] = m; s.loader.exec_module(m); "
        f"from {module} import main; sys.exit(main())"
    )
    return [sys.executable, "-I", "-S", "-B", "-c", program, *arguments]


def see(site: Path) -> None:
    """Let a folder of libraries be imported from now on, after the standard library."""
    sys.path.append(str(site))
