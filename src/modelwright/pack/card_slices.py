"""The parts of a model card that say how a model does in groups of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelwright.core.record_codec import from_json
from modelwright.core.signature import Task
from modelwright.core.slices import BEYOND_CHANCE, MAIN, Fairness, Gap, Group, GroupRate, Slices, Spread
from modelwright.pack.card_record import NOT_PROVIDED, Chart, Mark, Section

_TINY = 0.001
_WITHIN = "not told apart from chance"
_MEANING = (
    "Difference is highest minus lowest group, ratio lowest over highest; their intervals hold for all groups at once. "
    "Equal selection rates are demographic parity; a ratio below 0.8 is what the four-fifths rule of 29 CFR 1607.4(D) "
    "looks at. Equal true-positive rates are equal opportunity, and with equal false-positive rates equalized odds. "
    "Where base rates differ they cannot all hold: which one matters is for people to say."
)


def slice_sections(name: str, task: Task, verdict: Mapping[str, Any] | None) -> Iterator[Section]:
    """A section for each column that the model was measured by; one that says how to measure where there is none."""
    if task == "none":
        return
    found = _slices(verdict)
    if not found:
        yield Section("Slices", f"not measured. {_how(name)}")
    for one in found:
        yield _by_column(one, _overall(verdict), sum(len(group.gaps) for each in found for group in each.groups))


def fairness_section(said: str, name: str, task: Task, verdict: Mapping[str, Any] | None) -> Section:
    """What people say about fairness (``said``, or empty), and the rates by group that were measured."""
    if task in {"none", "regression"}:
        return Section("Fairness", said or NOT_PROVIDED)
    found = [(one.column, each) for one in _slices(verdict) for each in one.fairness]
    if not found:
        return Section("Fairness", said or NOT_PROVIDED, after=f"Rates by group: not measured. {_how(name)}")
    several = len({each.positive for _, each in found}) > 1
    given = "a class" if several else repr(found[0][1].positive)
    charts = tuple(_rate_chart(column, each) for column, each in found if each.rate == "selection_rate")
    return Section(
        "Fairness",
        said or "Nobody has said anything about it; this was measured.",
        headers=("by", "rate", "lowest group", "highest group", "difference (95 %)", "ratio (95 %)"),
        rows=tuple(_rate_row(column, each, several=several) for column, each in found),
        after=f"Selection rate: share of the rows that are predicted {given}. {_MEANING}",
        charts=charts if not several else (),
    )


def _how(name: str) -> str:
    command = f"modelwright check {name}.mw --data ROWS --target COLUMN --slice COLUMN --json > verdict.json"
    shown = f"modelwright card {name}.mw --verdict verdict.json"
    return f"`{command}` measures them, and `{shown}` shows them. For a release, name the columns in modelwright.yaml."


def _slices(verdict: Mapping[str, Any] | None) -> tuple[Slices, ...]:
    return from_json(tuple[Slices, ...], list((verdict or {}).get("slices") or ()), "the verdict")


def _overall(verdict: Mapping[str, Any] | None) -> dict[str, float]:
    return {metric["name"]: metric["value"] for metric in (verdict or {}).get("metrics", ())}


def _by_column(one: Slices, overall: Mapping[str, float], tested: int) -> Section:
    measured = {metric.name for group in one.groups for metric in group.metrics}
    main = next((name for name in MAIN if name in measured), "")
    title = f"Slices by {one.column}"
    rows = tuple(_row(group, main, one.minimum) for group in one.groups)
    if not main:
        few = f"No group of {one.column} has the {one.minimum} rows that it takes to say anything."
        return Section(title, few, headers=("group", "rows"), rows=tuple((row[0], row[1]) for row in rows))
    return Section(
        title,
        f"{_said(main).capitalize()} in each group of {one.column}, and its gap: the group minus all other rows. "
        f"Intervals are 95 % each. q is the p-value after Benjamini and Hochberg over all {tested} gaps that were "
        f"measured; a gap is beyond chance where q is at most {BEYOND_CHANCE}.",
        headers=("group", "rows", _said(main), "95 % interval", "gap", "95 % interval", "beyond chance"),
        rows=rows,
        after=_others(one.groups, main),
        charts=(_chart(one, main, overall),),
    )


def _row(group: Group, main: str, minimum: int) -> tuple[str, ...]:
    metric = next((metric for metric in group.metrics if metric.name == main), None)
    gap = next((gap for gap in group.gaps if gap.metric == main), None)
    if metric is None:
        said = f"fewer than {minimum} rows" if group.rows < minimum else "not defined here"
        return (group.name, str(group.rows), said, "", "", "", "")
    figures = (group.name, str(group.rows), f"{metric.value:.4g}", f"{metric.low:.4g} to {metric.high:.4g}")
    if gap is None:
        return (*figures, "not compared", "", "")
    return (*figures, f"{gap.value:+.3g}", f"{gap.low:+.3g} to {gap.high:+.3g}", _judged(gap))


def _judged(gap: Gap) -> str:
    if not gap.beyond_chance:
        return f"no (q {gap.q:.2g})"
    q = f"q {gap.q:.2g}" if gap.q >= _TINY else f"q < {_TINY}"
    return f"{'worse' if gap.worse > 0 else 'better'} ({q})"


def _others(groups: Sequence[Group], main: str) -> str:
    """In the other metrics, the group with the largest gap to the worse that chance does not explain."""
    by_metric: dict[str, list[tuple[str, Gap]]] = {}
    for group in groups:
        for gap in group.gaps:
            if gap.metric != main:
                held = by_metric.setdefault(gap.metric, [])
                held += [(group.name, gap)] if gap.beyond_chance and gap.worse > 0 else []
    said, quiet = [], []
    for metric, found in by_metric.items():
        if not found:
            quiet.append(_said(metric))
            continue
        name, gap = max(found, key=lambda one: one[1].worse)
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        said.append(f"{_said(metric)} in {name} {gap.value:+.3g} ({gap.low:+.3g} to {gap.high:+.3g}){more}")
    loud = f"Worse than in the other rows beyond chance, in other metrics: {'; '.join(said)}." if said else ""
    none = f"No group is worse beyond chance in {', '.join(quiet)}." if quiet else ""
    return f"{loud} {none}".strip()


def _chart(one: Slices, main: str, overall: Mapping[str, float]) -> Chart:
    marks = []
    for group in one.groups:
        gap = next((gap for gap in group.gaps if gap.metric == main), None)
        beyond = gap is not None and gap.beyond_chance
        says = f"{'worse' if gap.worse > 0 else 'better'} than the rest, beyond chance" if gap and beyond else _WITHIN
        marks += [
            Mark(f"{group.name} ({group.rows})", metric.value, metric.low, metric.high, says)
            for metric in group.metrics
            if metric.name == main
        ]
    better = next(metric.greater_is_better for group in one.groups for metric in group.metrics if metric.name == main)
    axis = f"{_said(main)} ({'more' if better else 'less'} is better)"
    line = overall.get(main)
    dashed = f"all rows, {line:.4g}" if line is not None else ""
    title = f"{_said(main).capitalize()} by {one.column}, with 95 % intervals"
    return Chart(f"{title} (dashed: {dashed})" if dashed else title, axis, tuple(marks), line)


def _rate_row(column: str, one: Fairness, *, several: bool) -> tuple[str, ...]:
    held = {group.group: group for group in one.groups}
    rate = one.rate.replace("_", " ") + (f" of {one.positive}" if several else "")
    ratio = "not defined" if one.ratio is None else _span(one.ratio)
    ends = (f"{name}: {_share(held[name])}" for name in (one.lowest, one.highest))
    return (column, rate, *ends, _span(one.difference), ratio)


def _share(group: GroupRate) -> str:
    return f"{group.value:.1%} of {group.cases}"


def _span(one: Spread) -> str:
    return f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})"


def _rate_chart(column: str, one: Fairness) -> Chart:
    marks = tuple(Mark(f"{group.group} ({group.cases})", group.value, group.low, group.high) for group in one.groups)
    title = f"Selection rate by {column}, with 95 % intervals"
    return Chart(title, f"share predicted {one.positive!r}", marks, from_zero=True)


def _said(metric: str) -> str:
    return metric.replace("_", " ")
