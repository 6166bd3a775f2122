"""A virtual environment for every peer, made once and kept; a peer that cannot be installed says why."""

import json
import subprocess
import sys
import venv
from pathlib import Path

from serving.catalog import PEERS

INSIDE = Path(__file__).parent / "inside"
INSTALL_SECONDS = 1800


class NotInstalledError(Exception):
    """The last line of what pip said."""


def python_of(peer: str, environments: Path) -> Path:
    """The interpreter of a peer's environment, with what its requirements name.

    Raises:
        NotInstalledError: pip failed.
    """
    home = environments.absolute() / peer
    wanted = (PEERS / peer / "requirements.txt").read_text()
    stamp, python = home / ".installed", home / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {peer} into {home} ...", file=sys.stderr, flush=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    try:
        venv.create(home, with_pip=True, clear=True)
        said = subprocess.run(
            [*pip, "-r", PEERS / peer / "requirements.txt"],
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise NotInstalledError(str(error)) from error
    if said.returncode:
        lines = [line for line in said.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise NotInstalledError(f"pip: {lines[-1].removeprefix('ERROR: ')}")
    stamp.write_text(wanted)
    return python


def versions(python: Path, peer: str) -> dict[str, str]:
    """The installed version of everything that the peer's requirements name."""
    lines = (PEERS / peer / "requirements.txt").read_text().splitlines()
    names = [line.partition("==")[0].partition("[")[0] for line in lines if "==" in line]
    code = "import json, sys; from importlib.metadata import version as v; "
    code += "print(json.dumps({name: v(name) for name in sys.argv[1:]}))"
    return json.loads(subprocess.run([python, "-c", code, *names], capture_output=True, check=True).stdout)


def prepare(python: Path, peer: str, models: Path) -> None:
    """Run the peer's ``prepare.py`` where it has one: what it must do to the models before it can serve them.

    Raises:
        NotInstalledError: it failed.
    """
    script = PEERS / peer / "prepare.py"
    if script.exists():
        said = subprocess.run([python, script, models], capture_output=True, text=True, check=False)
        if said.returncode:
            raise NotInstalledError(f"{script.name}: {said.stderr.strip().splitlines()[-1]}")
