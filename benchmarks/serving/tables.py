"""Measurements -> Markdown tables. What was dropped, refused or could not be asked is a row or a note, never a gap."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NOISE_LIMIT = 0.15
STARVED = 0.9
REFERENCES = ("fastapi-sklearn", "fastapi-onnx")


@dataclass(frozen=True)
class Measurement:
    """One server under one workload in one round; the last four are shares of a core, as in ``load.Loaded``."""

    server: str
    workload: str
    round: int
    rate: float
    p50: float
    p99: float
    errors: int
    megabytes: float
    server_cpu: float
    generator_cpu: float
    others: float
    squeezed: float

    @property
    def noisy(self) -> bool:
        """Others took too much of the server's core."""
        return self.others > NOISE_LIMIT

    @property
    def starved(self) -> bool:
        """The generator's core was full or shared, so the server may be faster than this."""
        return self.generator_cpu > STARVED or self.squeezed > NOISE_LIMIT


@dataclass(frozen=True)
class Start:
    """One cold start, in seconds to the first right answer."""

    server: str
    round: int
    seconds: float
    megabytes: float
    others: float

    @property
    def noisy(self) -> bool:
        """Others took too much of the server's core."""
        return self.others > NOISE_LIMIT


def same_round_ratio(ours: Iterable[Measurement], theirs: Iterable[Measurement]) -> float | None:
    """The median over the rounds that both have of our rate by theirs; None where there is no such round."""
    reference = {measurement.round: measurement.rate for measurement in theirs}
    ratios = [ours_.rate / reference[ours_.round] for ours_ in ours if reference.get(ours_.round)]
    return statistics.median(ratios) if ratios else None


def workload_table(title: str, titles: dict[str, str], taken: Sequence[Measurement], why: dict[str, str]) -> str:
    """The servers of ``titles``, fastest first; ``taken`` are the measurements of this workload, noisy ones included.

    ``why`` says for a server that was not measured what the reason is.
    """
    kept = {name: [m for m in taken if m.server == name and not m.noisy] for name in titles}
    heads = ["server", "requests/s median [min-max] (rounds)", "x FastAPI + scikit-learn", "x FastAPI + ONNX Runtime"]
    heads += ["p50 ms", "p99 ms", "errors", "PSS MB", "server CPU", "generator CPU"]
    measured = sorted((name for name in titles if kept[name]), key=lambda name: -_median(kept[name], "rate"))
    rows = [_row(titles[name], kept[name], [kept.get(reference, []) for reference in REFERENCES]) for name in measured]
    empty = [""] * (len(heads) - 2)
    rows += [[titles[name], _missing(name, taken, why), *empty] for name in titles if not kept[name]]
    return f"**{title}**\n\n{_markdown(heads, rows)}"


def start_table(titles: dict[str, str], starts: Sequence[Start], why: dict[str, str]) -> str:
    """Seconds from the start of the process to the first right answer, and memory then."""
    rows = []
    kept = {name: [start for start in starts if start.server == name and not start.noisy] for name in titles}
    for name in sorted((n for n in titles if kept[n]), key=lambda n: _median(kept[n], "seconds")):
        seconds = [start.seconds for start in kept[name]]
        spread = f"{statistics.median(seconds):.2f} [{min(seconds):.2f}-{max(seconds):.2f}] ({len(seconds)})"
        rows.append([titles[name], spread, f"{_median(kept[name], 'megabytes'):.0f}"])
    rows += [[titles[name], _missing(name, starts, why), ""] for name in titles if not kept[name]]
    heads = ["server", "seconds median [min-max] (rounds)", "PSS MB"]
    return f"**cold start to the first right prediction, memory after it**\n\n{_markdown(heads, rows)}"


def summary(taken: Sequence[Measurement]) -> str:
    """How much was kept, and how much was not."""
    noisy, failed = sum(m.noisy for m in taken), sum(m.errors > 0 for m in taken)
    starved = sum(m.starved and not m.noisy for m in taken)
    return (
        f"measurements kept {len(taken) - noisy}; dropped for noise {noisy} (others took more than "
        f"{NOISE_LIMIT:.0%} of the server's core); with errors {failed}; with a starved generator {starved} (marked !: "
        f"it used more than {STARVED:.0%} of its core or others took more than {NOISE_LIMIT:.0%} of it, so the server "
        "may be faster)"
    )


def _row(title: str, kept: Sequence[Measurement], references: Sequence[Sequence[Measurement]]) -> list[str]:
    rates = [m.rate for m in kept]
    starved = " !" if any(m.starved for m in kept) else ""
    ratios = [same_round_ratio(kept, reference) for reference in references]
    return [
        title,
        f"{statistics.median(rates):,.0f} [{min(rates):,.0f}-{max(rates):,.0f}] ({len(rates)})",
        *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        *(f"{_median(kept, name):.2f}" for name in ("p50", "p99")),
        str(sum(m.errors for m in kept)),
        f"{_median(kept, 'megabytes'):.0f}",
        f"{_median(kept, 'server_cpu'):.2f}",
        f"{_median(kept, 'generator_cpu'):.2f}{starved}",
    ]


def _missing(name: str, taken: Sequence[Measurement] | Sequence[Start], why: dict[str, str]) -> str:
    """Why a server has no figures."""
    dropped = sum(one.server == name for one in taken)
    return f"dropped for noise, {dropped} of {dropped}" if dropped else why.get(name, "not measured")


def _median(rows: Sequence[Measurement] | Sequence[Start], name: str) -> float:
    return statistics.median(getattr(row, name) for row in rows)


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
