"""How every benchmark here prints: the machine first, then one row per figure, winners and losers alike."""

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "onnxruntime", "msgspec", "httptools", "uvloop")


def machine() -> None:
    """Two lines: what this ran on, and how busy that was already."""
    model = next((line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "?")
    cores = len(os.sched_getaffinity(0))
    busy = os.getloadavg()[0]
    print(f"{model}, {cores} cores, load {busy:.1f}, {platform.system()} {platform.release()}")
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))


def row(label: str, figures: Sequence[float], unit: str, *, note: str = "") -> float:
    """Print median and spread of the rounds; returns the median."""
    middle = statistics.median(figures)
    spread = f"[{_short(min(figures))} - {_short(max(figures))}]"
    print(f"  {label:44} {_short(middle):>9} {unit:10} {spread:21} {len(figures)} rounds  {note}".rstrip(), flush=True)
    return middle


def rounds_of(count: int, measures: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Every measure ``count`` times, interleaved, so that a busy moment of the machine hits them all."""
    figures: dict[str, list[float]] = {label: [] for label in measures}
    for _ in range(count):
        for label, measure in measures.items():
            figures[label].append(measure())
    return figures


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The median of the same-round ratios, in words."""
    pairs = zip(ours, theirs, strict=True)
    return f"{statistics.median(our / their for our, their in pairs):.2f} x"


def two_cores() -> tuple[int, int]:
    """A core for the server and one for the generator (the same one on a machine that has no second)."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[-1], cores[-2] if len(cores) > 1 else cores[-1]


def _lines(path: str) -> list[str]:
    place = Path(path)
    return place.read_text().splitlines() if place.exists() else []


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"
