"""Runs the tests of heavy frameworks, each family in an environment of its own under ``build/frameworks``.

``python tests/frameworks/environment.py [NAME ...]``; a family is a folder here with a file ``requirements.txt``.
An environment is a layer over the one that runs this file: what that holds is found there, what the family needs
besides, or in another version, is installed above it. It is made anew when either has changed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / "build" / "frameworks"
AT_ONCE = min(os.cpu_count() or 1, 4)  # one family's tests run while another one's libraries are unpacked


def families() -> list[str]:
    """The families that have tests here, those with the most to try first: nobody waits for them alone at the end."""
    places = [path.parent for path in HERE.glob("*/requirements.txt")]
    return [place.name for place in sorted(places, key=lambda place: -sum(map(_bytes, place.glob("*.py"))))]


def _bytes(path: Path) -> int:
    return path.stat().st_size


def install(name: str) -> Path:
    """The Python of a family's environment."""
    home, requirements = ENVIRONMENTS / name, HERE / name / "requirements.txt"
    below = sysconfig.get_path("purelib")
    mark = _mark(requirements, below)
    stamp, python = home / "installed", home / "bin" / "python"
    if not (stamp.exists() and stamp.read_text() == mark):
        venv.create(home, clear=True)
        above = home / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
        (above / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location"]
        done = subprocess.run([*pip, "--requirement", requirements], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: its libraries cannot be installed.\n{done.stdout}{done.stderr}")
        stamp.write_text(mark)
    return python


def _mark(requirements: Path, below: str) -> str:
    held = sorted(f"{found.name}=={found.version}" for found in distributions(path=[below]))
    return hashlib.sha256("\n".join([requirements.read_text(), sys.version, below, *held]).encode()).hexdigest()


def run(name: str) -> tuple[int, str]:
    """Exit status of a family's tests, and what they printed."""
    began = time.monotonic()
    python = install(name)
    installed = time.monotonic()
    command = [python, "-m", "pytest", "-m", "frameworks", "-rs", HERE / name]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # families share the processors
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    took = f"installed in {installed - began:.0f} s, tested in {time.monotonic() - installed:.0f} s"
    return done.returncode, f"== {name}: {took}\n{done.stdout}"


def main(names: list[str]) -> int:
    """0 when the tests of every family pass."""
    failed = []
    chosen = names or families()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, (status, said) in zip(chosen, pool.map(run, chosen), strict=True):
            print(said, flush=True)
            if status:
                failed.append(name)
    if failed:
        print(f"Failed: {', '.join(failed)}")
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
