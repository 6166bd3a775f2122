"""The model card: one record made from evidence, with what is missing said plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwright.core import package_codec as codec
from modelwright.core.graph import GRAPH_ROUTE, Graph
from modelwright.core.native import NATIVE_ROUTE
from modelwright.core.package import Adversarial, Description, Package, Parity
from modelwright.core.record_codec import from_json, parse_json
from modelwright.core.signature import Reference, Signature
from modelwright.pack.card_record import NOT_PROVIDED, Card, Section
from modelwright.pack.card_slices import fairness_section, slice_sections

_TASKS = {
    "binary": ("tabular-classification", "two classes"),
    "multiclass": ("tabular-classification", "several classes"),
    "regression": ("tabular-regression", "a number"),
    "none": ("", "its output tensors"),
}
EVIDENCE = "evidence.json"
"""What people said when the model was packed."""
_ELSEWHERE = {"precision", "variant", "base"}
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
    *,
    parity: Parity | None,
    graph: Graph | None,
    environment: Sequence[Mapping[str, str]],
    examples: int | None,
    profile: Reference | None,
    evidence: Mapping[str, Any],
    verdict: Mapping[str, Any] | None = None,
    lineage: Mapping[str, str] | None = None,
) -> Card:
    """The card of a package.

    Args:
        description: what the package says of itself.
        signature: inputs, outputs and features.
        parity: the certificate.
        graph: of several models that answer as one.
        environment: distributions that the model came from.
        examples: how many rows it was certified on.
        profile: the reference profile.
        evidence: what people say, as of :class:`modelwright.pack.Evidence`.
        verdict: the check's verdict, as JSON.
        lineage: where a registered version came from.
    """
    sections = (
        _what(description, signature, evidence),
        _evaluation(evidence, verdict),
        *slice_sections(description.name, signature.task, verdict),
        _parity(parity, description) if graph is None else _members(graph),
        _data(examples, profile, evidence),
        _features(signature),
        _limits(signature, evidence),
        fairness_section(_words(evidence.get("fairness")), description.name, signature.task, verdict),
        _lineage(description, lineage or {}),
        _environment(description, environment),
    )
    front = _front_matter(description, signature, evidence, verdict)
    return Card(front, description.name, _summary(description, signature, parity), sections, verdict)


def card_of(
    package: Package, *, verdict: Mapping[str, Any] | None = None, lineage: Mapping[str, str] | None = None
) -> Card:
    """The card of a package in hand, with what the registry knows besides.

    Raises:
        CorruptError: a record of the package cannot be read.
    """
    held = package.manifest.files
    known = codec.ENVIRONMENT in held
    return card(
        package.description,
        package.signature,
        parity=package.parity,
        graph=package.graph,
        environment=codec.environment_from_json(package.read(codec.ENVIRONMENT)) if known else (),
        examples=package.parity.rows if package.parity else None,
        profile=package.reference,
        evidence=_said(package.read(EVIDENCE)) if EVIDENCE in held else {},
        verdict=verdict,
        lineage=lineage,
    )


def _said(content: bytes) -> Mapping[str, Any]:
    value: Mapping[str, Any] = from_json(dict[str, Any], parse_json(content, EVIDENCE), EVIDENCE)
    from_json(dict[str, float], value.get("evaluation", {}), EVIDENCE)
    return value


def _front_matter(
    description: Description, signature: Signature, evidence: Mapping[str, Any], verdict: Mapping[str, Any] | None
) -> dict[str, Any]:
    tag = _TASKS[signature.task][0]
    figures = _figures(evidence, verdict)
    record = {
        "model_name": description.name,
        "library_name": description.framework,
        "pipeline_tag": tag or None,
        "license": evidence.get("license") or None,
        "tags": [word for word in ("modelwright", description.route, description.framework, tag) if word],
        "metrics": sorted(figures),
        "model-index": _index(description, tag, evidence, figures) if figures and tag else None,
    }
    return {key: value for key, value in record.items() if value}


def _index(
    description: Description, tag: str, evidence: Mapping[str, Any], figures: Mapping[str, float]
) -> list[dict[str, Any]]:
    """The results in the form that model hubs read."""
    data = {"name": _line(evidence.get("data")), "type": "tabular"}
    metrics = [{"type": name, "name": name, "value": value} for name, value in sorted(figures.items())]
    return [{"name": description.name, "results": [{"task": {"type": tag}, "dataset": data, "metrics": metrics}]}]


def _figures(evidence: Mapping[str, Any], verdict: Mapping[str, Any] | None) -> dict[str, float]:
    measured = {metric["name"]: metric["value"] for metric in (verdict or {}).get("metrics", ())}
    return measured or dict(evidence.get("evaluation") or {})


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


def _what(description: Description, signature: Signature, evidence: Mapping[str, Any]) -> Section:
    rows = {
        "Purpose": evidence.get("purpose"),
        "For whom": evidence.get("users"),
        "Owner": evidence.get("owner"),
        "License": evidence.get("license"),
        "Predicts": f"{signature.target or 'its target'}: {_TASKS[signature.task][1]}",
        "Classes": ", ".join(signature.classes),
        "Model": f"{description.model_class} ({description.framework} {description.framework_version})".strip(),
        "Packed": f"{description.created_at}, Python {description.python}",
    }
    return Section("What it is", facts=_facts(rows))


def _data(examples: int | None, profile: Reference | None, evidence: Mapping[str, Any]) -> Section:
    rate = profile.base_rate if profile is not None else None
    rows = {
        "Source": evidence.get("data"),
        "Example rows": str(examples) if examples is not None else "",
        "Reference rows": str(profile.rows) if profile is not None else "",
        "Base rate": f"{rate:.4g}" if rate is not None else "",
    }
    return Section("Data", facts=_facts(rows))


def _evaluation(evidence: Mapping[str, Any], verdict: Mapping[str, Any] | None) -> Section:
    if verdict and verdict.get("metrics"):
        lines = tuple(
            (m["name"], f"{m['value']:.6g}", f"{m['low']:.6g} to {m['high']:.6g}", str(m["rows"]))
            for m in verdict["metrics"]
        )
        refused = [gate["name"] for gate in verdict.get("gates", ()) if not gate["passed"]]
        gates = f"Gates: {'stopped by ' + ', '.join(refused) if refused else 'all passed'}."
        return Section("Evaluation", headers=("metric", "value", "95 % interval", "rows"), rows=lines, after=gates)
    metrics: Mapping[str, float] = evidence.get("evaluation") or {}
    if not metrics:
        return Section("Evaluation", f"{NOT_PROVIDED}. `modelwright check` measures it on labelled rows.")
    said = tuple((name, f"{value:.6g}") for name, value in sorted(metrics.items()))
    return Section("Evaluation", headers=("metric", "value"), rows=said)


def _members(graph: Graph) -> Section:
    rows = tuple((name, one.source, f"`{one.digest[:12]}`") for name, one in graph.models)
    return Section("Models", headers=("node", "from", "digest"), rows=rows)


def _lineage(description: Description, lineage: Mapping[str, str]) -> Section:
    notes = description.notes
    rows = {
        "Code revision": description.code_revision,
        "Data digest": description.data_digest,
        "Model file (SHA-256)": description.source_sha256,
        **({"Variant": notes["variant"], "Made from the package": notes["base"]} if "variant" in notes else {}),
        **lineage,
    }
    return Section("Lineage", facts=_facts(rows))


def _parity(parity: Parity | None, description: Description) -> Section:
    notes, native = description.notes, description.route == NATIVE_ROUTE
    if native and parity is None:
        return Section("Certificate of conversion", f"{NOT_PROVIDED}: the model runs as its own code.")
    if parity is None:
        came = "this graph is a variant of another one" if "variant" in notes else "the model came as an ONNX file"
        return Section("Certificate of conversion", f"{NOT_PROVIDED}: {came}.")
    rows = {
        "Verdict": "holds" if parity.holds else "does not hold",
        "Rows compared": str(parity.rows),
        "Largest difference": f"{parity.max_difference:.3g} (allowed: {parity.tolerance:g}), in row {parity.worst_row}",
        "Mean difference": f"{parity.mean_difference:.3g}",
        "Labels that differ": str(parity.label_flips),
        "Input types": parity.numeric_type,
        "Attempts": _attempts(parity),
    }
    if parity.adversarial is not None:
        rows["Beyond the examples"] = _beyond(parity.adversarial)
    if "precision" in notes:
        rows["Numbers"] = notes["precision"]
    if native:
        intro = "The model, and the same model opened as it will be served, answered the same rows; each was compared."
        return Section("Certificate of opening", intro, _facts(rows))
    intro = "The original model and the converted graph answered the same example rows; each answer was compared."
    return Section("Certificate of conversion", intro, _facts(rows))


def _beyond(made: Adversarial) -> str:
    """Rows that were made from the signature: how many agree, how many the original refuses, and which differ."""
    shown = [f"{one.get('row')} (original {one.get('original')}, here {one.get('converted')})" for one in made.worst]
    return made.words + (f"; different: {', '.join(shown)}" if shown else "")


def _attempts(parity: Parity) -> str:
    """How many input types were tried, and how the earlier ones failed."""
    failed = []
    for attempt in parity.tried:
        if not attempt.get("holds"):
            difference = attempt.get("max_difference")
            outcome = f"differs by {difference:.3g}" if isinstance(difference, float) else "does not convert"
            failed.append(f"{attempt.get('numeric_type')} {outcome}")
    return str(len(parity.tried)) + (f" ({'; '.join(failed)})" if failed else "")


def _features(signature: Signature) -> Section:
    if not signature.features:
        return Section("Features", NOT_PROVIDED)
    lines = []
    for feature in signature.features[:_SHOWN]:
        if feature.kind == "category":
            seen = f"{len(feature.categories)} levels" if feature.categories else "more levels than are listed"
        elif feature.low is not None and feature.high is not None:
            seen = f"{feature.low:.6g} to {feature.high:.6g}"
        else:
            seen = "true, false" if feature.kind == "boolean" else "nothing"
        lines.append((feature.name, feature.kind, "yes" if feature.nullable else "no", seen))
    more = len(signature.features) - _SHOWN
    tail = f"... and {more} more." if more > 0 else ""
    return Section("Features", headers=("feature", "kind", "missing seen", "seen"), rows=tuple(lines), after=tail)


def _limits(signature: Signature, evidence: Mapping[str, Any]) -> Section:
    """What people say, and what the data itself limits."""
    rows = {"Known limits": evidence.get("limits")}
    if signature.features:
        gaps = [feature.name for feature in signature.features if feature.nullable]
        rows["Outside the data"] = "values outside what the table of features shows were not in the data"
        rows["Missing values were seen in"] = ", ".join(gaps) if gaps else "no column"
    return Section("Limits", facts=_facts(rows))


def _environment(description: Description, environment: Sequence[Mapping[str, str]]) -> Section:
    """Route, why, jail, and the distributions."""
    notes = {_NOTES.get(key, key): value for key, value in description.notes.items() if key not in _ELSEWHERE}
    rows = {"Route": description.route, **notes}
    if not environment:
        return Section("Environment", facts=_facts({**rows, "Distributions": ""}))
    lines = tuple((row["name"], row["version"]) for row in environment)
    return Section("Environment", facts=_facts(rows), headers=("distribution", "version"), rows=lines)


def _facts(rows: Mapping[str, Any]) -> dict[str, str]:
    return {name: _line(value) for name, value in rows.items()}


def _line(value: Any) -> str:
    return _words(value) or NOT_PROVIDED


def _words(value: Any) -> str:
    return " ".join(str(value).split()) if value else ""
