"""What one machine can do with a model and no registry: pack, check, predict, compare two files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.check import check, split_target, verdict_json
from modelwright.core.errors import BadInputError
from modelwright.core.native import Isolation
from modelwright.core.package import Package
from modelwright.core.record_codec import to_json
from modelwright.core.signature import DATATYPES, InputPolicy
from modelwright.core.table import Column, Table
from modelwright.features.columns import feeds, output_columns
from modelwright.pack import build
from modelwright.ports.framework import Conversion, Framework, Route
from modelwright.ports.platform import Platform
from modelwright.ports.runner import RunnerLoader
from modelwright.ports.source import Source
from modelwright.watch.tables import compare_tables


@dataclass(frozen=True, slots=True)
class Workbench:
    """The ports that need no data directory."""

    source: Source
    frameworks: Sequence[Framework]
    runners: RunnerLoader


def pack_file(
    bench: Workbench | Platform,
    artifact: Path,
    *,
    name: str,
    data: Path | None,
    target: str,
    reference: Path | None,
    policy: InputPolicy | None = None,
    row_independent: bool = False,
    route: Route = "auto",
    isolation: Isolation = "strict",
    idempotent: bool = True,
) -> Package:
    """A model file as a package; ``data`` certifies the conversion, ``reference`` (or ``data``) is profiled.

    ``row_independent`` declares of an ONNX file what is known of a converted model: that its rows stand alone.
    ``route`` and ``isolation``: :class:`modelwright.ports.framework.Framework`; ``idempotent``:
    :func:`modelwright.pack.build`.

    Raises:
        BadInputError: no adapter for the file, no such column, examples missing where they are needed.
        RefusedError: it cannot be converted, or the conversion does not hold.
    """
    framework = owner(bench.frameworks, artifact)
    examples: Table | None = None
    labels: Column | None = None
    if data is not None:
        examples, labels = split_target(bench.source.read(data), target) if target else (bench.source.read(data), None)
    training = bench.source.read(reference).without(target) if reference else None
    conversion = framework.convert(artifact, examples, target=target, route=route, isolation=isolation)
    return build(
        replace(conversion, row_independent=True) if row_independent and conversion.native is None else conversion,
        name=name,
        examples=examples,
        labels=labels,
        reference=training,
        source_sha256=file_digest(source_file(artifact, conversion)),
        data_digest=file_digest(data) if data else "",
        policy=policy,
        idempotent=idempotent,
    )


def owner(frameworks: Sequence[Framework], artifact: Path) -> Framework:
    """The framework adapter that converts such a file.

    Raises:
        BadInputError: ``pack.missing-file`` or ``pack.no-framework``.
    """
    if not artifact.exists():
        raise BadInputError("pack.missing-file", f"There is no {artifact.name!r}.", fix="Check the path.")
    for framework in frameworks:
        if framework.owns(artifact):
            return framework
    raise BadInputError(
        "pack.no-framework",
        f"No framework adapter converts {artifact.name!r}.",
        why=f"Tried: {', '.join(framework.name for framework in frameworks) or 'none is installed'}.",
        fix="Save the model with joblib (needs `modelwright[sklearn]`), export it as .onnx, or write a model.py.",
    )


def source_file(artifact: Path, conversion: Conversion) -> Path:
    """The model's own file: the artifact, or in a folder the file that is opened."""
    return artifact / conversion.native.file if artifact.is_dir() and conversion.native else artifact


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_files(
    bench: Workbench, package: Package, data: Path, *, target: str, against: Package | None
) -> dict[str, Any]:
    """The verdict on a package, as JSON, alone or compared with another one on the same rows."""
    rows, truth = split_target(bench.source.read(data), target)
    runner = bench.runners.load(package)
    champion = (against.digest[:12], bench.runners.load(against), against) if against else None
    try:
        verdict = check(
            package, rows, truth, runner=runner, champion=champion, gates=None, margin=0.01, latency_budget_ms=50.0
        )
    finally:
        runner.close()
        if champion:
            champion[1].close()
    return verdict_json(verdict)


def predict(bench: Workbench, package: Package, rows: Table) -> dict[str, Column]:
    """Answers by output column for rows with the package's feature columns."""
    if not package.signature.inputs or not len(rows):
        raise BadInputError("predict.no-rows", "There are no rows to predict.")
    runner = bench.runners.load(package)
    try:
        return output_columns(package.signature, runner.run(feeds(package.signature, rows)))
    finally:
        runner.close()


def predict_tensors(bench: Workbench, package: Package, tensors: Mapping[str, Any]) -> dict[str, Column]:
    """Answers by output column for tensors by input name; one without its batch dimension is one row.

    Raises:
        BadInputError: ``predict.bad-tensor``; what the graph rejects.
    """
    arrays = {}
    for spec in package.signature.inputs:
        if spec.name not in tensors:
            raise BadInputError(
                "predict.bad-tensor",
                f"There is no tensor {spec.name!r}.",
                fix=f"The model takes {', '.join(each.name for each in package.signature.inputs)}.",
            )
        try:
            array = np.asarray(tensors[spec.name], dtype=DATATYPES[spec.datatype])
        except (TypeError, ValueError) as error:
            raise BadInputError(
                "predict.bad-tensor",
                f"Tensor {spec.name!r} cannot be read as {spec.datatype}.",
                why=f"{error}.",
                fix="Give numbers in lists of equal length.",
            ) from error
        arrays[spec.name] = array[np.newaxis] if array.ndim == len(spec.shape) - 1 else array
    runner = bench.runners.load(package)
    try:
        return output_columns(package.signature, runner.run(arrays))
    finally:
        runner.close()


def compare_files(bench: Workbench, reference: Path, current: Path, *, alarm_rate: float) -> dict[str, Any]:
    """A watch report, as JSON, on two files."""
    report = compare_tables(bench.source.read(reference), bench.source.read(current), alarm_rate=alarm_rate)
    body: dict[str, Any] = to_json(report)
    return body
