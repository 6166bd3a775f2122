"""Verdicts as JSON and as words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from modelwright.core.metric import Metric
from modelwright.core.record_codec import from_json, to_json
from modelwright.core.slices import Slices
from modelwright.core.verdict import Comparison, Gate, Verdict


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON-able values, with ``passed`` added."""
    body = dataclasses.asdict(verdict)
    body["metrics"] = list(body["metrics"])
    body["gates"] = list(body["gates"])
    return body | {"slices": to_json(verdict.slices), "passed": verdict.passed}


def verdict_from_json(body: Mapping[str, Any]) -> Verdict:
    """What :func:`verdict_json` gave, as a verdict again. Where there is no word of slices, none were measured."""
    comparison = body.get("comparison")
    return Verdict(
        body["package_digest"],
        body["task"],
        body["rows"],
        tuple(Metric(**metric) for metric in body["metrics"]),
        tuple(Gate(**gate) for gate in body["gates"]),
        None if comparison is None else Comparison(**comparison),
        body.get("data_digest", ""),
        dict(body.get("notes", {})),
        from_json(tuple[Slices, ...], body.get("slices", []), "the verdict"),
    )


def explain(verdict: Verdict) -> str:
    """A few lines: passed with the main figures, or each refusal with its gate, its figure and what to do."""
    if verdict.passed:
        figures = ", ".join(f"{m.name} {m.value:.4g} [{m.low:.4g}, {m.high:.4g}]" for m in verdict.metrics[:2])
        held = f"Passed all {len(verdict.gates)} gates on {verdict.rows} rows"
        return f"{held}: {figures}." if figures else f"{held}."
    refused = verdict.refusals
    lines = [f"Refused by {len(refused)} of {len(verdict.gates)} gates on {verdict.rows} rows."]
    lines += [f"{gate.name}: {gate.why}" + (f" {gate.fix}" if gate.fix else "") for gate in refused]
    return "\n".join(lines)
