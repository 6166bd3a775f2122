"""Our side of the jailed converter: give it the model's descriptor, start it, watch the clock, read what it wrote."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from modelwright.adapters.frameworks import exchange
from modelwright.core.content import content_at
from modelwright.core.errors import BadInputError, CorruptError, DeadlineError, ModelwrightError, UnavailableError
from modelwright.core.native import Isolation
from modelwright.core.package import canonical_json
from modelwright.core.table import Table
from modelwright.jail import apart, environment
from modelwright.ports.framework import NO_HINTS, Conversion, Hints, Route

MEMORY_BYTES = 16 * 2**30
FILE_BYTES = exchange.MAX_BYTES
SCRATCH_BYTES = 256 * 2**20
_PREFIX = "modelwright-convert-"
_STALE_SECONDS = 86_400


def convert_file(
    path: Path,
    examples: Table | None,
    *,
    family: str,
    target: str,
    timeout_seconds: float,
    memory_bytes: int = MEMORY_BYTES,
    route: Route = "onnx",
    isolation: Isolation = "strict",
    why: str = "",
    beside: Mapping[str, Path] | None = None,
    hints: Hints = NO_HINTS,
) -> Conversion:
    """Convert a model's file in a process that has no network, no privileges and nothing to read but the model.

    ``family`` names who opens it (:mod:`modelwright.adapters.frameworks.families`). A model that runs as code is asked
    there about the examples, at the level of jail that it says it needs; its file, and those ``beside`` it (name in the
    package to path; the folder is readable then), come back in ``files``, read and not opened, unless the converter
    made files of its own to serve it from. ``why`` is why the route is ``native``.

    Raises:
        BadInputError: ``pack.missing-file``, ``pack.unreadable-model`` and those of the conversion.
        RefusedError: those of the conversion.
        UnavailableError: ``pack.converter-crashed``.
        DeadlineError: ``pack.converter-timeout``.
    """
    request = {
        "family": family,
        "options": dict(hints.options),
        "site": str(hints.site or ""),
        "name": path.name,
        "path": str(path.resolve()),
        "folder": beside is not None,
        "target": target,
        "route": route,
        "isolation": isolation,
        "why": why,
        "memory_bytes": memory_bytes,
        "cpu_seconds": int(timeout_seconds * max(os.cpu_count() or 1, 1)) + 1,
        "file_bytes": FILE_BYTES,
        "scratch_bytes": SCRATCH_BYTES,
    }
    with _opened(path) as model, _workplace() as place:
        exchange.write_examples(place / "scratch", examples, hints.tensors)
        status = _run(place, model, request, timeout_seconds)
        if status != 0 or not (place / "result.json").stat().st_size:
            raise _crashed(path.name, status, place)
        try:
            return _with_files(exchange.read_result(place), path, isolation, beside or {})
        except (CorruptError, OSError) as error:
            if isinstance(error, CorruptError) and error.code != "package.malformed":
                raise
            raise _crashed(path.name, status, place) from error


def _with_files(conversion: Conversion, path: Path, isolation: Isolation, beside: Mapping[str, Path]) -> Conversion:
    if conversion.native is None:
        return conversion
    if conversion.files:
        return replace(conversion, native=replace(conversion.native, isolation=isolation))
    files = {conversion.native.file: path, **beside}
    return replace(
        conversion,
        native=replace(conversion.native, isolation=isolation),
        files={name: content_at(held) for name, held in files.items()},
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of the model, which the converter gets in place of the right to open files."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInputError(
            "pack.missing-file",
            f"{str(path)!r} cannot be read.",
            why=f"{error.strerror or error}.",
            fix="Check the path.",
        ) from error
    with file:
        yield file.fileno()


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    """A directory with ours in it, and ``scratch``, which will be the converter's own."""
    place = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    _sweep(place.parent)
    try:
        (place / "scratch").mkdir(mode=0o700)
        yield place
    finally:
        _remove(place)


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


def _run(place: Path, model: int, request: dict[str, object], timeout_seconds: float) -> int:
    scratch = place / "scratch"
    results = exchange.open_results(place)
    try:
        asked = canonical_json(request | {"model": model, "results": results, "parent": os.getpid()})
        (scratch / "request.json").write_bytes(asked)
        with (place / "output.txt").open("xb") as output:
            process = subprocess.Popen(
                _command(scratch, apart_from_ours=bool(request["site"])),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=scratch,
                env=environment(scratch),
                start_new_session=True,
                pass_fds=(model, *results.values()),
            )
    finally:
        for descriptor in results.values():
            os.close(descriptor)
    return _wait(process, str(request["name"]), timeout_seconds)


def _command(scratch: Path, *, apart_from_ours: bool) -> list[str]:
    if apart_from_ours:
        return apart.command("modelwright.adapters.frameworks.converter_apart", str(scratch))
    return [sys.executable, "-I", "-B", "-m", "modelwright.adapters.frameworks.converter", str(scratch)]


def _wait(process: subprocess.Popen[bytes], name: str, timeout_seconds: float) -> int:
    try:
        return process.wait(timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(
            "pack.converter-timeout",
            f"{name!r} was not converted within {timeout_seconds:g} seconds.",
            why="Opening or converting the model took too long.",
            fix="Pack it from Python with fewer examples, or allow more time.",
        ) from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _crashed(name: str, status: int, place: Path) -> ModelwrightError:
    if status < 0:
        why = f"It was ended by signal {signal.Signals(-status).name}"
    else:
        last = _last_line(place / "output.txt")
        why = f"It ended with status {status}" + (f": {last}" if last else "")
    return UnavailableError(
        "pack.converter-crashed",
        f"The process that was to convert {name!r} did not finish.",
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
