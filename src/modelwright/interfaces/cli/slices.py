"""Slices of a verdict on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from modelwright.core.slices import BEYOND_CHANCE, MAIN
from modelwright.interfaces.cli.output import print_table, shown

_RATES = ("rate", "lowest", "highest", "difference", "low", "high", "ratio", "low", "high")


def show_slices(slices: Sequence[Mapping[str, Any]]) -> None:
    """A table per column with the gaps of its groups, and one with the rates by group; nothing where none are.

    The table is of one metric; gaps of the others are lines where they stand out.
    """
    for one in slices:
        measured = {metric["name"] for group in one["groups"] for metric in group["metrics"]}
        main = next((name for name in MAIN if name in measured), "")
        click.echo()
        print_table(
            f"By {one['column']} ({main or 'no group is large enough'}; gap: group minus the other rows)",
            ["group", "rows", "value", "low", "high", "gap", "low", "high", "q"],
            [_row(group, main) for group in one["groups"]],
        )
        few = sum(not group["metrics"] for group in one["groups"])
        if few:
            click.echo(f"{few} of {len(one['groups'])} groups have fewer than {one['minimum']} rows: too few to tell.")
        for line in _beyond(one["groups"]):
            click.echo(line)
        _show_fairness(one)
    if slices:
        tested = sum(len(group["gaps"]) for one in slices for group in one["groups"])
        click.echo(f"q: p-value after Benjamini and Hochberg over all {tested} gaps of this check.")


def _row(group: Mapping[str, Any], main: str) -> list[object]:
    metric = next((one for one in group["metrics"] if one["name"] == main), None)
    gap = next((one for one in group["gaps"] if one["metric"] == main), None)
    figures = [None] * 3 if metric is None else [metric["value"], metric["low"], metric["high"]]
    beside = [None] * 4 if gap is None else [gap["value"], gap["low"], gap["high"], gap["q"]]
    return [group["name"], group["rows"], *figures, *beside]


def _beyond(groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each gap to the worse that chance does not explain."""
    for group in groups:
        for gap in group["gaps"]:
            sign = 1 if gap["greater_is_better"] else -1
            if gap["q"] <= BEYOND_CHANCE and sign * gap["value"] < 0:
                span = f"[{shown(gap['low'])}, {shown(gap['high'])}]"
                mark = click.style("worse", fg="yellow", bold=True)
                yield f"{mark} in {group['name']}: {gap['metric']} {gap['value']:+.4g} {span}, q {gap['q']:.2g}"


def _show_fairness(one: Mapping[str, Any]) -> None:
    if not one["fairness"]:
        return
    click.echo()
    several = len({each["positive"] for each in one["fairness"]}) > 1
    print_table(
        f"Rates by {one['column']} (highest minus lowest, lowest over highest; 95 % interval over all groups)",
        [*(["class"] if several else []), *_RATES],
        [[*([each["positive"]] if several else []), *_rates(each)] for each in one["fairness"]],
    )


def _rates(each: Mapping[str, Any]) -> list[object]:
    by_name = {group["group"]: group["value"] for group in each["groups"]}
    ends = [f"{each[end]} {by_name[each[end]]:.1%}" for end in ("lowest", "highest")]
    spread = [each["difference"][key] for key in ("value", "low", "high")]
    ratio = [None] * 3 if each["ratio"] is None else [each["ratio"][key] for key in ("value", "low", "high")]
    return [each["rate"].replace("_", " "), *ends, *spread, *ratio]
