"""A conversion and what is known about its data, assembled into a package."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core import package_codec as codec
from modelwright.core.content import Content
from modelwright.core.graph import GRAPH_ROUTE
from modelwright.core.lock import read_pins, requirements
from modelwright.core.native import NATIVE_ROUTE
from modelwright.core.package import Description, Golden, Package, canonical_json
from modelwright.core.record_codec import to_json
from modelwright.core.signature import InputPolicy, Reference, Signature
from modelwright.core.table import Column, Table, missing
from modelwright.features.columns import output_columns
from modelwright.features.describe import describe_all
from modelwright.features.tabular import rows_evenly
from modelwright.pack.bom import bom
from modelwright.pack.card import EVIDENCE, card
from modelwright.pack.card_forms import markdown
from modelwright.pack.mlmodel import mlflow_files
from modelwright.ports.framework import Conversion

GOLDEN_ROWS = 8


@dataclass(frozen=True, slots=True)
class Evidence:
    """What people say about a model beyond what its data shows; whatever is empty appears as "not provided"."""

    purpose: str = ""
    users: str = ""
    owner: str = ""
    license: str = ""
    data: str = ""
    limits: str = ""
    fairness: str = ""
    evaluation: Mapping[str, float] = field(default_factory=dict)


def build(
    conversion: Conversion,
    *,
    name: str,
    examples: Table | None = None,
    labels: Column | None = None,
    reference: Table | None = None,
    source_sha256: str = "",
    data_digest: str = "",
    code_revision: str = "",
    evidence: Evidence | None = None,
    created_at: str = "",
    policy: InputPolicy | None = None,
    idempotent: bool = True,
) -> Package:
    """Assemble the package of a converted model.

    Args:
        conversion: what the framework adapter gave.
        name: the model's name.
        examples: the feature rows the conversion was certified on.
        labels: their ground truth, one value per row; gives the base rate.
        reference: feature rows of the training data for the reference profile; the examples where not given.
        source_sha256: hex SHA-256 of the model's file.
        data_digest: hex digest of the data; computed from the examples where not given.
        code_revision: revision of the training code.
        evidence: what the model card should say besides.
        policy: what becomes of values that the model has not seen.
        idempotent: a request to a model that runs as code may be run again when its process died.
        created_at: ISO 8601 time, now where not given: the only thing in which two builds of the same input differ.

    Raises:
        BadInputError: ``register.bad-name``.
    """
    profiled = reference if reference is not None else examples
    signature = describe_all(conversion.signature, [table for table in (examples, reference) if table is not None])
    if policy is not None:
        signature = replace(signature, policy=policy)
    description = _description(
        conversion,
        name=name,
        created_at=created_at or datetime.now(UTC).isoformat(timespec="seconds"),
        source_sha256=source_sha256,
        data_digest=data_digest or (table_digest(examples) if examples is not None else ""),
        code_revision=code_revision,
    )
    golden = golden_rows(conversion)
    profile = reference_profile(signature, profiled, conversion.outputs, labels) if profiled is not None else None
    model_files = _model_files(conversion, idempotent=idempotent)
    said = to_json(evidence or Evidence())
    made = card(
        description,
        signature,
        parity=conversion.parity,
        graph=conversion.graph,
        environment=conversion.environment,
        examples=len(examples) if examples is not None else None,
        profile=profile,
        evidence=said,
    )
    own = {} if conversion.graph is not None else model_files
    files: dict[str, Content] = {
        **model_files,
        codec.DESCRIPTION: codec.description_json(description),
        codec.SIGNATURE: codec.signature_json(signature),
        **_records(conversion, golden, profile),
        **mlflow_files(description, signature, golden.examples if golden is not None else None, examples),
        codec.CARD: markdown(made).encode(),
        codec.BOM: bom(description, signature, conversion, files=own, evidence=said),
    }
    if evidence is not None and evidence != Evidence():
        files[EVIDENCE] = canonical_json(said)
    return codec.assemble(name, files)


def _description(
    conversion: Conversion, *, name: str, created_at: str, source_sha256: str, data_digest: str, code_revision: str
) -> Description:
    notes = dict(conversion.notes)
    return Description(
        name=name,
        framework=conversion.framework,
        framework_version=conversion.framework_version,
        model_class=conversion.model_class,
        route=_route(conversion),
        created_at=created_at,
        python=platform.python_version(),
        source_sha256=source_sha256 or notes.pop("source_sha256", ""),
        data_digest=data_digest,
        code_revision=code_revision,
        row_independent=conversion.row_independent,
        notes=notes,
    )


def _records(conversion: Conversion, golden: Golden | None, profile: Reference | None) -> dict[str, Content]:
    """Where the model came from and what proves it, as far as it is known."""
    files: dict[str, Content] = {
        codec.ENVIRONMENT: canonical_json(list(conversion.environment)),
        codec.REQUIREMENTS: requirements(read_pins(conversion.environment)).encode(),
    }
    if golden is not None:
        files[codec.GOLDEN] = codec.golden_json(golden)
    if profile is not None:
        files[codec.REFERENCE] = codec.reference_json(profile)
    if conversion.kernels is not None:
        files[codec.KERNELS] = codec.kernels_json(conversion.kernels)
    if conversion.parity is not None:
        files[codec.PARITY] = codec.parity_json(conversion.parity)
    return files


def _route(conversion: Conversion) -> str:
    if conversion.graph is not None:
        return GRAPH_ROUTE
    return "onnx" if conversion.native is None else NATIVE_ROUTE


def _model_files(conversion: Conversion, *, idempotent: bool) -> dict[str, Content]:
    """The graph, or the files of a model that runs as code with ``native.json``."""
    if conversion.graph is not None:
        return {**conversion.files, codec.GRAPH: codec.graph_json(conversion.graph)}
    native = conversion.native
    if native is None:
        return {**conversion.files, codec.MODEL: conversion.onnx}
    told = replace(native, idempotent=native.idempotent and idempotent)
    return {**conversion.files, codec.NATIVE: codec.native_json(told)}


def golden_rows(conversion: Conversion) -> Golden | None:
    """A few of the conversion's rows, evenly chosen, with the packed model's answers; None where there are none.

    After them, of a model that answers each row by itself, those that were made from the signature.
    """
    counts = {len(tensor) for tensor in (*conversion.inputs.values(), *conversion.outputs.values()) if tensor.ndim}
    if not conversion.outputs or len(counts) != 1:
        return None
    rows = rows_evenly(counts.pop(), GOLDEN_ROWS)
    inputs, outputs = _lists(conversion.inputs, rows), _lists(conversion.outputs, rows)
    beyond = len(next(iter(conversion.beyond_outputs.values()), ())) if conversion.row_independent else 0
    if not beyond:
        return Golden(inputs, outputs, len(rows))
    every = np.arange(beyond)
    more, answers = _lists(conversion.beyond_inputs, every), _lists(conversion.beyond_outputs, every)
    return Golden(
        {name: [*held, *more[name]] for name, held in inputs.items()},
        {name: [*held, *answers[name]] for name, held in outputs.items()},
        len(rows) + beyond,
        beyond,
    )


def _lists(tensors: Mapping[str, NDArray[Any]], rows: NDArray[np.intp]) -> dict[str, list[Any]]:
    return {name: to_json(tensor[rows]) for name, tensor in tensors.items()}


def reference_profile(
    signature: Signature, rows: Table, outputs: Mapping[str, NDArray[Any]], labels: Column | None
) -> Reference:
    """The reference profile: features from ``rows``, predictions from the converted graph's answers to the examples.

    Predictions are profiled on the examples and not on the training rows, where a model is surer than in service.
    """
    from modelwright.stats.profile import profile  # lazy: pulls in what only profiling needs

    names = [feature.name for feature in signature.features if feature.name in rows]
    wanted = signature.score_output or signature.label_output
    held = output_columns(signature, {wanted: outputs[wanted]}) if wanted in outputs else {}
    numeric = {name: column.astype(np.float64) for name, column in held.items() if column.dtype.kind in "biuf"}
    return profile(rows.select(names), predictions=numeric, base_rate=base_rate(signature, labels))


def base_rate(signature: Signature, labels: Column | None) -> float | None:
    """Share of the second class (binary; labels are compared as text or as numbers), or mean of the target.

    None where a label is none of the classes: the truth is written otherwise than the model's answers.
    """
    known = None if labels is None else labels[~missing(labels)]
    if known is None or len(known) == 0:
        return None
    if signature.task == "regression" and known.dtype.kind in "biuf":
        return float(known.astype(np.float64).mean())
    if signature.task != "binary":
        return None
    values = known.tolist()
    if not all(any(_same_class(value, name) for name in signature.classes) for value in values):
        return None
    return float(np.mean([_same_class(value, signature.classes[1]) for value in values]))


def _same_class(value: object, name: str) -> bool:
    if str(value) == name:
        return True
    words = {"True": 1.0, "False": 0.0}
    try:
        number = words[name] if name in words else float(name)
        return isinstance(value, bool | int | float) and float(value) == number
    except ValueError:
        return False


def table_digest(table: Table) -> str:
    """Hex SHA-256 over names, kinds and values of all columns, in order."""
    digest = hashlib.sha256()
    for name, column in table.columns.items():
        digest.update(canonical_json([name, str(column.dtype), len(column)]))
        if column.dtype == object:
            digest.update(canonical_json([None if value is None else str(value) for value in column]))
        else:
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
