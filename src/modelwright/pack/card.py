"""The model card: Markdown written from evidence, with what is missing said plainly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from modelwright.core.graph import GRAPH_ROUTE, Graph
from modelwright.core.native import NATIVE_ROUTE
from modelwright.core.package import Description, Parity
from modelwright.core.signature import Reference, Signature
from modelwright.core.table import Table
from modelwright.ports.framework import Conversion

NOT_PROVIDED = "not provided"
_TASKS = {
    "binary": ("tabular-classification", "two classes"),
    "multiclass": ("tabular-classification", "several classes"),
    "regression": ("tabular-regression", "a number"),
    "none": ("", "its output tensors"),
}
_SHOWN = 50
_NOTES = {
    "isolation": "Isolation while it was opened and converted",
    "versions": "Versions",
    "route": "Why this route",
    "rows": "Rows",
    "producer": "Written by",
}


def card(
    description: Description,
    signature: Signature,
    conversion: Conversion,
    *,
    examples: Table | None,
    profile: Reference | None,
    evidence: Mapping[str, Any],
) -> str:
    """The card as Markdown under YAML front matter.

    Args:
        description: what the package says of itself.
        signature: inputs, outputs and features.
        conversion: parity and environment.
        examples: the rows it was certified on.
        profile: the reference profile.
        evidence: purpose, owner, license, data, limits (text) and evaluation (metric to value).
    """
    sections = [
        _front_matter(description, signature, evidence),
        f"# {description.name}",
        _summary(description, signature, conversion.parity),
        _what(description, signature, evidence),
        _evaluation(evidence),
        _parity(conversion.parity, description) if conversion.graph is None else _members(conversion.graph),
        _data(description, examples, profile, evidence),
        _features(signature),
        _limits(signature, evidence),
        _environment(description, conversion),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(description: Description, signature: Signature, evidence: Mapping[str, Any]) -> str:
    tag = _TASKS[signature.task][0]
    record = {
        "model_name": description.name,
        "library_name": description.framework,
        "pipeline_tag": tag or None,
        "license": evidence.get("license") or None,
        "tags": [word for word in ("modelwright", description.route, description.framework, tag) if word],
    }
    shown = {key: value for key, value in record.items() if value}
    return "---\n" + yaml.safe_dump(shown, sort_keys=True, allow_unicode=True) + "---"


def _summary(description: Description, signature: Signature, parity: Parity | None) -> str:
    """One paragraph: what it does, what it was, and on what proof it is trusted."""
    count = len(signature.features)
    source = f" from {count} column{'' if count == 1 else 's'}" if count else ""
    made = f"{description.model_class} of {description.framework} {description.framework_version}".strip()
    made = description.model_class if description.route == GRAPH_ROUTE else made
    if description.route == GRAPH_ROUTE:
        proof = "Its models are packages of their own inside this one."
    elif description.route == NATIVE_ROUTE:
        proof = "It runs as its own code, in a jailed process."
        if parity is not None:
            proof += f" Opened again there, it answered the {parity.rows} example rows as before."
    elif parity is None:
        proof = "It came as an ONNX graph and is packed as it is; there was no original to compare it with."
    else:
        held = "answers as the original does" if parity.holds else "does not answer as the original does"
        proof = f"It was converted to ONNX and {held} on the {parity.rows} example rows (see the certificate below)."
    said = f"Predicts {signature.target or 'its target'}" if signature.task != "none" else "Gives its output tensors"
    return f"{said}{source}. The model is a {made}. {proof}"


def _what(description: Description, signature: Signature, evidence: Mapping[str, Any]) -> str:
    rows = {
        "Purpose": evidence.get("purpose"),
        "Owner": evidence.get("owner"),
        "License": evidence.get("license"),
        "Predicts": f"{signature.target or 'its target'}: {_TASKS[signature.task][1]}",
        "Classes": ", ".join(signature.classes),
        "Model": f"{description.model_class} ({description.framework} {description.framework_version})".strip(),
        "Packed": f"{description.created_at}, Python {description.python}",
        "Code revision": description.code_revision,
        "Model file (SHA-256)": description.source_sha256,
    }
    return "## What it is\n\n" + _bullets(rows)


def _data(
    description: Description, examples: Table | None, profile: Reference | None, evidence: Mapping[str, Any]
) -> str:
    rate = profile.base_rate if profile is not None else None
    rows = {
        "Source": evidence.get("data"),
        "Example rows": str(len(examples)) if examples is not None else "",
        "Reference rows": str(profile.rows) if profile is not None else "",
        "Base rate": f"{rate:.4g}" if rate is not None else "",
        "Data digest": description.data_digest,
    }
    return "## Data\n\n" + _bullets(rows)


def _evaluation(evidence: Mapping[str, Any]) -> str:
    metrics: Mapping[str, float] = evidence.get("evaluation") or {}
    if not metrics:
        return f"## Evaluation\n\n{NOT_PROVIDED}. `modelwright check` measures it on labelled rows."
    lines = [f"| {_cell(name)} | {value:.6g} |" for name, value in sorted(metrics.items())]
    return "## Evaluation\n\n| metric | value |\n|---|---|\n" + "\n".join(lines)


def _members(graph: Graph) -> str:
    lines = [f"| {name} | {_cell(one.source)} | `{one.digest[:12]}` |" for name, one in graph.models]
    return "## Models\n\n| node | from | digest |\n|---|---|---|\n" + "\n".join(lines)


def _parity(parity: Parity | None, description: Description) -> str:
    notes, native = description.notes, description.route == NATIVE_ROUTE
    if native and parity is None:
        return f"## Certificate of conversion\n\n{NOT_PROVIDED}: the model runs as its own code."
    if parity is None:
        return f"## Certificate of conversion\n\n{NOT_PROVIDED}: the model came as an ONNX file."
    rows = {
        "Verdict": "holds" if parity.holds else "does not hold",
        "Rows compared": str(parity.rows),
        "Largest difference": f"{parity.max_difference:.3g} (allowed: {parity.tolerance:g}), in row {parity.worst_row}",
        "Mean difference": f"{parity.mean_difference:.3g}",
        "Labels that differ": str(parity.label_flips),
        "Input types": parity.numeric_type,
        "Attempts": _attempts(parity),
    }
    if "probes" in notes:
        rows["Beyond the examples"] = notes["probes"]
    if native:
        intro = "The model, and the same model opened as it will be served, answered the same rows; each was compared."
        return f"## Certificate of opening\n\n{intro}\n\n{_bullets(rows)}"
    intro = "The original model and the converted graph answered the same example rows; each answer was compared."
    return f"## Certificate of conversion\n\n{intro}\n\n{_bullets(rows)}"


def _attempts(parity: Parity) -> str:
    """How many input types were tried, and how the earlier ones failed."""
    failed = []
    for attempt in parity.tried:
        if not attempt.get("holds"):
            difference = attempt.get("max_difference")
            outcome = f"differs by {difference:.3g}" if isinstance(difference, float) else "does not convert"
            failed.append(f"{attempt.get('numeric_type')} {outcome}")
    return str(len(parity.tried)) + (f" ({'; '.join(failed)})" if failed else "")


def _features(signature: Signature) -> str:
    if not signature.features:
        return f"## Features\n\n{NOT_PROVIDED}"
    lines = []
    for feature in signature.features[:_SHOWN]:
        if feature.kind == "category":
            seen = f"{len(feature.categories)} levels" if feature.categories else "more levels than are listed"
        elif feature.low is not None and feature.high is not None:
            seen = f"{feature.low:.6g} to {feature.high:.6g}"
        else:
            seen = "true, false" if feature.kind == "boolean" else "nothing"
        missing = "yes" if feature.nullable else "no"
        lines.append(f"| {_cell(feature.name)} | {feature.kind} | {missing} | {seen} |")
    more = len(signature.features) - _SHOWN
    tail = f"\n\n... and {more} more." if more > 0 else ""
    return "## Features\n\n| feature | kind | missing seen | seen |\n|---|---|---|---|\n" + "\n".join(lines) + tail


def _limits(signature: Signature, evidence: Mapping[str, Any]) -> str:
    """What people say, and what the data itself limits."""
    lines = [f"- Known limits: {_line(evidence.get('limits'))}"]
    if signature.features:
        gaps = [feature.name for feature in signature.features if feature.nullable]
        lines.append("- Values outside what the table of features shows were not in the data of this package.")
        lines.append(f"- Missing values were seen in: {_line(', '.join(gaps)) if gaps else 'no column'}.")
    return "## Limits\n\n" + "\n".join(lines)


def _environment(description: Description, conversion: Conversion) -> str:
    """Route, why, jail, and the distributions."""
    notes = {_NOTES.get(key, key): value for key, value in description.notes.items() if key != "probes"}
    rows = {"Route": description.route, **notes}
    if not conversion.environment:
        return "## Environment\n\n" + _bullets(rows) + f"\n- Distributions: {NOT_PROVIDED}"
    lines = [f"| {_cell(row['name'])} | {_cell(row['version'])} |" for row in conversion.environment]
    return "## Environment\n\n" + _bullets(rows) + "\n\n| distribution | version |\n|---|---|\n" + "\n".join(lines)


def _bullets(rows: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {_line(value)}" for name, value in rows.items())


def _line(value: Any) -> str:
    return " ".join(str(value).split()) if value else NOT_PROVIDED


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
