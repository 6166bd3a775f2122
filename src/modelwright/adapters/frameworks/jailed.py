"""Our side of the jailed converter: start it, watch the clock, read what it wrote."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from modelwright.adapters.frameworks import exchange
from modelwright.core.errors import BadInputError, CorruptError, DeadlineError, ModelwrightError, UnavailableError
from modelwright.core.package import canonical_json
from modelwright.core.table import Table
from modelwright.ports.framework import Conversion, Route

MEMORY_BYTES = 16 * 2**30
FILE_BYTES = 4 * 2**30
_PREFIX = "modelwright-convert-"
_STALE_SECONDS = 86_400


def convert_file(
    path: Path,
    examples: Table | None,
    *,
    target: str,
    timeout_seconds: float,
    memory_bytes: int = MEMORY_BYTES,
    route: Route = "onnx",
    why: str = "",
) -> Conversion:
    """Convert a pickled model in a process that has no network, no privileges and a scratch directory of its own.

    A model that runs as code is asked there about the examples; its file comes back in ``files``, read and not opened.
    ``why`` is why the route is ``native``.

    Raises:
        BadInputError: ``pack.missing-file``, ``pack.unreadable-model`` and those of the conversion.
        RefusedError: those of the conversion.
        UnavailableError: ``pack.converter-crashed``.
        DeadlineError: ``pack.converter-timeout``.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise BadInputError(
            "pack.missing-file",
            f"{str(path)!r} cannot be read.",
            why=f"{error.strerror or error}.",
            fix="Check the path.",
        ) from error
    with _scratch() as scratch:
        if examples is not None:
            exchange.write_table(scratch / "rows.npz", examples)
        request = {
            "target": target,
            "route": route,
            "why": why,
            "memory_bytes": memory_bytes,
            "cpu_seconds": int(timeout_seconds * max(os.cpu_count() or 1, 1)) + 1,
            "file_bytes": FILE_BYTES,
        }
        (scratch / "request.json").write_bytes(canonical_json(request))
        status = _run(scratch, path.resolve(), timeout_seconds)
        if status != 0 or not (scratch / "result.json").is_file():
            raise _crashed(path, status, scratch)
        try:
            return _with_file(exchange.read_result(scratch), path)
        except (CorruptError, OSError) as error:
            if isinstance(error, CorruptError) and error.code != "package.malformed":
                raise
            raise _crashed(path, status, scratch) from error


def _with_file(conversion: Conversion, path: Path) -> Conversion:
    native = conversion.native
    return conversion if native is None else replace(conversion, files={native.file: path.read_bytes()})


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    scratch = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    _sweep(scratch.parent)
    try:
        yield scratch
    finally:
        _remove(scratch)


def _sweep(place: Path) -> None:
    """Remove our own scratch directories of a day ago: whoever was killed with SIGKILL could not."""
    for left in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            state = left.lstat()
            if state.st_uid == os.getuid() and time.time() - state.st_mtime > _STALE_SECONDS:
                _remove(left)


def _remove(scratch: Path) -> None:
    """Remove a directory that may be nested deeper than a recursive removal can go: flatten it first."""
    rest = [scratch]
    while rest:
        with contextlib.suppress(OSError):
            for inner in [path for path in rest.pop().iterdir() if path.is_dir() and not path.is_symlink()]:
                inner.chmod(0o700)
                rest.append(inner.rename(tempfile.mkdtemp(dir=scratch)))
    shutil.rmtree(scratch, ignore_errors=True)


def _run(scratch: Path, model: Path, timeout_seconds: float) -> int:
    command = [sys.executable, "-I", "-B", "-m", "modelwright.adapters.frameworks.converter"]
    clean = {
        "PATH": os.defpath,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "JOBLIB_MULTIPROCESSING": "0",
        # A few thousand rows need no thread pool, and pools of several such processes fight for the same cores.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    with (scratch / "output.txt").open("xb") as output:
        process = subprocess.Popen(
            [*command, str(scratch), str(model), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=scratch,
            env=clean,
            start_new_session=True,
            close_fds=True,
        )
        try:
            return process.wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(
                "pack.converter-timeout",
                f"{model.name!r} was not converted within {timeout_seconds:g} seconds.",
                why="Opening or converting the model took too long.",
                fix="Pack it from Python with fewer examples, or allow more time.",
            ) from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _crashed(path: Path, status: int, scratch: Path) -> ModelwrightError:
    if status < 0:
        why = f"It was ended by signal {signal.Signals(-status).name}"
    else:
        last = _last_line(scratch / "output.txt")
        why = f"It ended with status {status}" + (f": {last}" if last else "")
    return UnavailableError(
        "pack.converter-crashed",
        f"The process that was to convert {path.name!r} did not finish.",
        why=f"{why.rstrip('.')}.",
        fix="Check that the file is a model you trust and that there is memory for it.",
    )


def _last_line(path: Path) -> str:
    """The last line of its output, without control characters; it came from a process that is not trusted."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 4096, 0))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return "".join(character for character in said[-1][:300] if character.isprintable()) if said else ""
