"""Gates on slices: only those that the user asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelwright.check.gates import require_metric
from modelwright.core.errors import BadInputError
from modelwright.core.slices import BEYOND_CHANCE, Gap, Slices
from modelwright.core.verdict import Gate

_NAMED = 3


def require_metrics(allowed: Mapping[str, float]) -> None:
    """Check that gaps are allowed for metrics that there are, and are no negative numbers.

    Raises:
        BadInputError: ``check.unknown-metric``, ``check.bad-slice-gap``.
    """
    for name, most in allowed.items():
        require_metric(name)
        if not most >= 0:
            raise BadInputError(
                "check.bad-slice-gap",
                f"A gap of {most:g} in {name} cannot be allowed.",
                why="It says how much worse than the rest a group may be, in the unit of the metric.",
                fix=f"Give 0 or more, for example {name}=0.05.",
            )


def slice_gates(slices: Sequence[Slices], allowed: Mapping[str, float]) -> list[Gate]:
    """One gate per metric: no group is worse than the rest by more than allowed, beyond what chance explains."""
    return [_gate(slices, name, most) for name, most in allowed.items()]


def _gate(slices: Sequence[Slices], name: str, most: float) -> Gate:
    found = [
        (f"{one.column} {group.name}", group.rows, gap)
        for one in slices
        for group in one.groups
        for gap in group.gaps
        if gap.metric == name
    ]
    groups = sum(len(one.groups) for one in slices)
    unknown = f"{groups - len(found)} of {groups} groups have too few rows to tell." if groups > len(found) else ""
    if not found:
        said = f"{name} cannot be compared in any group. {unknown}".strip()
        fix = "Slice by a column of the data whose groups have more rows, or ask for another metric."
        return Gate(f"slice-gap-{name}", False, None, most, said, fix)
    found.sort(key=lambda one: -one[2].worse)
    refused = [one for one in found if one[2].worse > most and one[2].beyond_chance]
    worst = refused[0] if refused else found[0]
    figure = max(worst[2].worse, 0.0)
    if refused:
        words = "; ".join(_words(*one) for one in refused[:_NAMED])
        more = f" And {len(refused) - _NAMED} more." if len(refused) > _NAMED else ""
        said = f"{name} is worse than in the other rows in {words}. Allowed: {most:g}.{more}"
        fix = "Find out why: too few such rows in training, or a column that means another thing there."
    else:
        said = (
            f"No group is worse than the other rows by more than {most:g} beyond chance (q at most {BEYOND_CHANCE:g})."
        )
        said += f" Worst of {len(found)}: {_words(*worst)}." if worst[2].worse > 0 else ""
        fix = ""
    return Gate(f"slice-gap-{name}", not refused, figure, most, f"{said} {unknown}".strip(), fix)


def _words(group: str, rows: int, gap: Gap) -> str:
    low, high = sorted((-gap.low, -gap.high)) if gap.greater_is_better else (gap.low, gap.high)
    return f"{group} ({rows} rows) by {gap.worse:.3g} [{low:.3g}, {high:.3g}], q {gap.q:.2g}"
