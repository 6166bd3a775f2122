"""The kernel: C of our own, the same for every model, compiled once for a machine and kept by its digest."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import resource
import shutil
import subprocess
from pathlib import Path

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-ffp-contract=off", "-shared", "-fPIC", "-x", "c", "-")
COMPILE_SECONDS, COMPILE_BYTES = 60, 2 * 2**30

SOURCE = r"""
#include <math.h>
#include <stdint.h>
#define ROWS 16
typedef struct { float threshold; uint32_t feature, child, nan_goes_true; } node;

static inline uint32_t step(const node *nodes, uint32_t at, const float *row) {
    const node here = nodes[at];
    const float value = row[here.feature];
    return here.child + 1 - ((value <= here.threshold) | ((value != value) & here.nan_goes_true));
}

/* Without a branch to be guessed, and with several rows on their way through a tree at once. */
void walk(const float *rows, int64_t count, int64_t width, const node *nodes, const float *weights,
          const int32_t *roots, const int32_t *depths, int64_t trees, float base, float *sums) {
    for (int64_t first = 0; first < count; first += ROWS) {
        const int64_t some = count - first < ROWS ? count - first : ROWS;
        const float *block = rows + first * width;
        float sum[ROWS] = {0};
        for (int64_t tree = 0; tree < trees; tree++) {
            uint32_t at[ROWS];
            for (int row = 0; row < ROWS; row++) at[row] = (uint32_t)roots[tree];
            if (some == ROWS) {
                for (int32_t level = 0; level < depths[tree]; level++)
                    for (int row = 0; row < ROWS; row++) at[row] = step(nodes, at[row], block + row * width);
                for (int row = 0; row < ROWS; row++) sum[row] += weights[at[row]];
            } else {
                for (int64_t row = 0; row < some; row++) {
                    const float *one = block + row * width;
                    for (int32_t level = 0; level < depths[tree]; level++) at[row] = step(nodes, at[row], one);
                    sum[row] += weights[at[row]];
                }
            }
        }
        for (int64_t row = 0; row < some; row++) sums[first + row] = sum[row] + base;
    }
}

static float logistic(float value) {
    const float known = 1.0f / (1.0f + expf(-fabsf(value)));
    return value < 0 ? 1.0f - known : known;
}

/* kind as in Ensemble: 1 sums are probabilities, 2 any sums, 3 any sums, by the logistic function */
void finish(const float *sums, int64_t count, int32_t kind, float low, float high, int64_t *labels, float *scores) {
    for (int64_t row = 0; row < count; row++) {
        const float sum = sums[row];
        float first = kind == 1 ? 1.0f - sum : kind == 2 ? -sum : logistic(-sum);
        float second = kind == 3 ? logistic(sum) : sum;
        labels[row] = kind == 1 ? sum > 0.5f : sum > 0;
        first = first < low ? low : first;
        second = second < low ? low : second;
        scores[2 * row] = first > high ? high : first;
        scores[2 * row + 1] = second > high ? high : second;
    }
}
"""


class NoKernelError(Exception):
    """There is none here; the reason is its text."""


def load(folder: Path) -> ctypes.CDLL:
    """The kernel out of this folder, compiled into it where it is not there. Raises what :func:`make` raises."""
    return opened(make(folder))


def make(folder: Path) -> Path:
    """The kernel's file in this folder, compiled where it is not there.

    Raises:
        NoKernelError: no compiler, or it failed, or the folder is not private.
    """
    compiler = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if compiler is None:
        raise NoKernelError(f"no C compiler is installed ({', '.join(COMPILERS)})")
    told = "\0".join((SOURCE, *FLAGS, compiler, platform.machine(), platform.libc_ver()[1]))
    file = folder / f"trees-{hashlib.sha256(told.encode()).hexdigest()[:32]}.so"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o022:
            raise NoKernelError(f"others may write to {folder}")
        if not _whole(file):
            _compile(compiler, file)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoKernelError(f"the kernel cannot be made: {error}") from error
    return file


def opened(file: Path) -> ctypes.CDLL:
    """The kernel that :func:`make` made.

    Raises:
        NoKernelError: it cannot be loaded into this process.
    """
    try:
        library = ctypes.CDLL(str(file))
    except OSError as error:
        raise NoKernelError(f"the kernel cannot be loaded: {error}") from error
    pointer, count, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    library.walk.argtypes = [pointer, count, count, pointer, pointer, pointer, pointer, count, real, pointer]
    library.finish.argtypes = [pointer, count, ctypes.c_int32, real, real, pointer, pointer]
    library.walk.restype = library.finish.restype = None
    return library


def _whole(file: Path) -> bool:
    """Whether the file is there and holds what its compiler wrote."""
    try:
        return file.with_suffix(".sha256").read_text() == hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return False


def _compile(compiler: str, file: Path) -> None:
    making = file.with_suffix(f".{os.getpid()}")
    try:
        done = subprocess.run(
            [compiler, *FLAGS, "-lm", "-o", str(making)],
            input=SOURCE.encode(),
            capture_output=True,
            timeout=COMPILE_SECONDS,
            check=False,
            preexec_fn=_limit,
        )
        if done.returncode:
            raise NoKernelError(f"{compiler} ended with status {done.returncode}")
        making.chmod(0o500)
        file.with_suffix(".sha256").write_text(hashlib.sha256(making.read_bytes()).hexdigest())
        making.replace(file)
    finally:
        making.unlink(missing_ok=True)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (COMPILE_SECONDS, COMPILE_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (COMPILE_BYTES, COMPILE_BYTES))
