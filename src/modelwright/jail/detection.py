"""What this machine's kernel gives, found by going in: a process of its own tries and tells."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from modelwright.core.errors import UnavailableError
from modelwright.jail.confinement import Confinement, Held
from modelwright.jail.entry import enter
from modelwright.jail.parent import environment

_SECONDS = 60.0


@functools.cache
def available() -> Held:
    """The strictest level that a process started from here is held at, found once by a process that enters it.

    Raises:
        UnavailableError: ``jail.not-entered``.
    """
    with tempfile.TemporaryDirectory(prefix="modelwright-jail-") as scratch:
        place = Path(scratch).resolve()
        command = [sys.executable, "-I", "-B", "-m", "modelwright.jail.detection", str(place)]
        try:
            done = subprocess.run(
                command, env=environment(place), cwd=place, capture_output=True, timeout=_SECONDS, check=True
            )
            said = json.loads(done.stdout)
            return Held(said["level"], tuple(said["parts"]), tuple(said["missing"]))
        except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            raise UnavailableError(
                "jail.not-entered",
                "It could not be found out how well a process can be held here.",
                why=f"{_last_line(error) or error}.",
                fix="Check that new processes can be started and that the temporary directory can be written.",
            ) from error


def _last_line(error: Exception) -> str:
    """What the process that tried said last."""
    words = error.stderr if isinstance(error, subprocess.CalledProcessError) else b""
    lines = (words or b"").decode(errors="replace").split("\n")
    return next((line.strip().rstrip(".") for line in reversed(lines) if line.strip()), "")


def _try(scratch: Path) -> Held:
    return enter(Confinement(scratch, "strict", 2**33, int(_SECONDS), 2**20, scratch_bytes=2**20))


if __name__ == "__main__":
    found = _try(Path(sys.argv[1]))
    sys.stdout.write(json.dumps({"level": found.level, "parts": found.parts, "missing": found.missing}))
