"""The bill of materials: the model as a CycloneDX 1.6 component with its model card, files and environment."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from modelwright.core.about import __version__
from modelwright.core.content import Content, sha256
from modelwright.core.package import Description, canonical_json
from modelwright.core.signature import Signature
from modelwright.ports.framework import Conversion

SPEC_VERSION = "1.6"
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/")
_TASKS = {"binary": "binary classification", "multiclass": "multiclass classification", "regression": "regression"}


def bom(
    description: Description,
    signature: Signature,
    conversion: Conversion,
    *,
    files: Mapping[str, Content],
    evidence: Mapping[str, Any],
) -> bytes:
    """``bom.cdx.json``: the same bytes for the same input. Source: CycloneDX 1.6, ``machine-learning-model``.

    Args:
        description: what the package says of itself.
        signature: inputs and outputs.
        conversion: parity and environment.
        files: the model's own files, by name in the package.
        evidence: purpose, license, data, limits (text) and evaluation (metric to value).
    """
    reference = f"model:{description.name}"
    libraries = [_library(row) for row in conversion.environment]
    members = [
        _member(node, one.source, one.digest) for node, one in (conversion.graph.models if conversion.graph else ())
    ]
    body: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {
            "timestamp": description.created_at,
            "tools": {"components": [{"type": "application", "name": "modelwright", "version": __version__}]},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": reference,
                "name": description.name,
                "description": f"{description.model_class} of {description.framework}".strip(),
                "modelCard": _model_card(description, signature, conversion, evidence),
                "properties": _properties(description),
                **_license(evidence),
            },
        },
        "components": [*_files(files, reference), *members, *libraries],
        "dependencies": [
            {"ref": reference, "dependsOn": sorted(part["bom-ref"] for part in (*members, *libraries))},
        ],
    }
    digest = sha256(canonical_json(body))
    return canonical_json(body | {"serialNumber": f"urn:uuid:{uuid.uuid5(_NAMES, digest)}"})


def _model_card(
    description: Description, signature: Signature, conversion: Conversion, evidence: Mapping[str, Any]
) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "modelArchitecture": description.model_class,
        "inputs": [{"format": _tensor(spec.name, spec.datatype, spec.shape)} for spec in signature.inputs],
        "outputs": [{"format": _tensor(spec.name, spec.datatype, spec.shape)} for spec in signature.outputs],
    }
    if signature.task in _TASKS:
        parameters |= {"approach": {"type": "supervised"}, "task": _TASKS[signature.task]}
    if description.data_digest:
        told = [{"name": "modelwright:data:sha256", "value": description.data_digest}]
        data: dict[str, Any] = {"type": "dataset", "name": "examples", "contents": {"properties": told}}
        if evidence.get("data"):
            data["description"] = str(evidence["data"])
        parameters["datasets"] = [data]
    card: dict[str, Any] = {"modelParameters": parameters}
    metrics = [{"type": name, "value": f"{value:.6g}"} for name, value in sorted(_evaluation(evidence).items())]
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    considered = {
        name: [str(evidence[key])]
        for name, key in (("useCases", "purpose"), ("technicalLimitations", "limits"))
        if evidence.get(key)
    }
    if considered:
        card["considerations"] = considered
    parity = conversion.parity
    if parity is not None:
        held = {"rows": parity.rows, "largest-difference": parity.max_difference, "tolerance": parity.tolerance}
        told = [{"name": "modelwright:parity:holds", "value": "true" if parity.holds else "false"}]
        card["properties"] = told + [{"name": f"modelwright:parity:{k}", "value": f"{v:.6g}"} for k, v in held.items()]
    return card


def _evaluation(evidence: Mapping[str, Any]) -> Mapping[str, float]:
    return evidence.get("evaluation") or {}


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> str:
    """A tensor in one line, as the Open Inference Protocol writes it: -1 is any size."""
    return f"{name}: {datatype} {list(shape)}"


def _properties(description: Description) -> list[dict[str, str]]:
    known = {
        "route": description.route,
        "framework": f"{description.framework} {description.framework_version}".strip(),
        "python": description.python,
        "source:sha256": description.source_sha256,
        "code-revision": description.code_revision,
    }
    return [{"name": f"modelwright:{name}", "value": value} for name, value in known.items() if value]


def _license(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {"licenses": [{"license": {"name": str(evidence["license"])}}]} if evidence.get("license") else {}


def _files(files: Mapping[str, Content], reference: str) -> list[dict[str, Any]]:
    return [
        {"type": "file", "bom-ref": f"{reference}/{name}", "name": name, "hashes": _sha256(sha256(content))}
        for name, content in sorted(files.items())
    ]


def _member(node: str, source: str, digest: str) -> dict[str, Any]:
    """A model inside a graph, by its package's digest, which is that of its manifest."""
    return {
        "type": "machine-learning-model",
        "bom-ref": f"node:{node}",
        "name": node,
        "description": source,
        "hashes": _sha256(digest),
    }


def _library(row: Mapping[str, str]) -> dict[str, Any]:
    """An installed distribution. What is known is the digest of its RECORD, which is not that of an archive."""
    purl = f"pkg:pypi/{quote(row['name'], safe='')}@{quote(row['version'], safe='')}"
    library: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": row["name"],
        "version": row["version"],
        "purl": purl,
    }
    if row.get("record_sha256"):
        record = {
            "type": "file",
            "bom-ref": f"{purl}#RECORD",
            "name": "RECORD",
            "hashes": _sha256(row["record_sha256"]),
        }
        library["components"] = [record]
    return library


def _sha256(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]
