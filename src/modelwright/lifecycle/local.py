"""What one machine can do with a model and no registry: pack, check, predict, compare two files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from modelwright.check import check, split_target, verdict_json
from modelwright.core.content import file_sha256
from modelwright.core.errors import BadInputError, CorruptError
from modelwright.core.graph import declared_in
from modelwright.core.native import Isolation
from modelwright.core.package import Package
from modelwright.core.record_codec import from_json, to_json
from modelwright.core.signature import DATATYPES, InputPolicy
from modelwright.core.table import Column, Table
from modelwright.features.columns import feeds, output_columns
from modelwright.pack import Evidence, build
from modelwright.ports.framework import Conversion, Framework, Hints, Route
from modelwright.ports.platform import Platform
from modelwright.ports.runner import ChooseKernel, RunnerLoader
from modelwright.ports.source import Source
from modelwright.watch.tables import compare_tables


@dataclass(frozen=True, slots=True)
class Workbench:
    """The ports that need no data directory. ``kernels`` is asked about every model that is packed."""

    source: Source
    frameworks: Sequence[Framework]
    runners: RunnerLoader
    kernels: ChooseKernel | None = None


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
    options: Mapping[str, str] | None = None,
    evidence: Path | None = None,
    site: Path | None = None,
    locking: Callable[[Conversion], Conversion] = lambda conversion: conversion,
) -> Package:
    """A model file as a package; ``data`` certifies the conversion, ``reference`` (or ``data``) is profiled.

    ``data`` may be a file of arrays (.npz) for a model whose input is no table.

    ``row_independent`` declares of an ONNX file what is known of a converted model: that its rows stand alone.
    ``route``, ``isolation`` and ``options``: :class:`modelwright.ports.framework.Framework`; ``idempotent``:
    :func:`modelwright.pack.build`. ``site`` is the folder of libraries that a native model was made with, None:
    those of this process; ``locking`` completes the lock of its environment.

    Raises:
        BadInputError: no adapter for the file, no such column, examples missing where they are needed.
        RefusedError: it cannot be converted, or the conversion does not hold.
        UnavailableError: ``pack.kernels-unmeasured``.
    """
    said = read_evidence(evidence) if evidence else None
    framework = owner(bench.frameworks, artifact)
    examples: Table | None = None
    labels: Column | None = None
    tensors: Mapping[str, NDArray[Any]] = {}
    if data is not None and data.suffix.lower() == ".npz":
        tensors = read_tensors(data)
    elif data is not None:
        examples, labels = split_target(bench.source.read(data), target) if target else (bench.source.read(data), None)
    training = bench.source.read(reference).without(target) if reference else None
    hints = Hints(tensors, options or {}, site)
    conversion = framework.convert(artifact, examples, target=target, route=route, isolation=isolation, hints=hints)
    conversion = locking(conversion)
    if bench.kernels is not None and conversion.onnx and isinstance(conversion.onnx, bytes):
        conversion = replace(conversion, kernels=bench.kernels(name, conversion.onnx, conversion.inputs))
    return build(
        replace(conversion, row_independent=True) if row_independent and conversion.native is None else conversion,
        name=name,
        examples=examples,
        labels=labels,
        reference=training,
        source_sha256=source_digest(artifact, conversion),
        data_digest=file_sha256(data) if data else "",
        policy=policy,
        idempotent=idempotent,
        evidence=said,
    )


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name; nothing in it is unpickled.

    Raises:
        BadInputError: ``source.unreadable``.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for damaged archives
        raise BadInputError(
            "source.unreadable",
            f"{path} cannot be read as a file of arrays.",
            why=f"{type(error).__name__}: {str(error)[:300]}.",
            fix="Write it with numpy.savez('examples.npz', NAME=array, ...); arrays of objects cannot be read.",
        ) from error


def read_evidence(path: Path) -> Evidence:
    """What people say about a model, from a YAML file with the fields of :class:`modelwright.pack.Evidence`.

    Raises:
        BadInputError: ``pack.bad-evidence``.
    """
    try:
        return from_json(Evidence, yaml.safe_load(path.read_text(encoding="utf-8")), path.name)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, CorruptError) as error:
        why = error.why if isinstance(error, CorruptError) else f"{str(error).splitlines()[0]}."
        known = ", ".join(field.name for field in fields(Evidence))
        raise BadInputError(
            "pack.bad-evidence",
            f"{path.name} does not say what a card holds.",
            why=why,
            fix=f"Write NAME: text lines of {known}; evaluation is NAME: number.",
        ) from error


_NEAREST = {
    ".pmml": "Nothing here reads PMML: export the model as .onnx where it was trained, or write a model.py that reads "
    "the file with a library of yours.",
    ".mar": "Unpack the archive of TorchServe, and pack the .pt file in it.",
    ".mlmodel": "Export the model as .onnx where it was trained.",
    ".safetensors": "Weights alone are no model: pack the folder that has config.json beside them, or a .pt state dict "
    "with --option factory=FILE.py:FUNCTION.",
}
"""The nearest supported way for files that nobody takes."""


def owner(frameworks: Sequence[Framework], artifact: Path) -> Framework:
    """The framework adapter that converts such a file.

    Raises:
        BadInputError: ``pack.missing-file`` or ``pack.no-framework``.
    """
    if not declared_in(artifact)[0].exists():
        raise BadInputError("pack.missing-file", f"There is no {artifact.name!r}.", fix="Check the path.")
    for framework in frameworks:
        if framework.owns(artifact):
            return framework
    raise BadInputError(
        "pack.no-framework",
        f"No framework adapter converts {artifact.name!r}.",
        why=f"Tried: {', '.join(framework.name for framework in frameworks) or 'none is installed'}.",
        fix=_NEAREST.get(
            artifact.suffix.lower(),
            "Save it in its framework's own format, export it as .onnx, or write a "
            "model.py; `modelwright plugins` lists the frameworks.",
        ),
    )


def source_file(artifact: Path, conversion: Conversion) -> Path:
    """The model's own file: the artifact, in a folder the file that is opened, of a graph what declares it."""
    return artifact / conversion.native.file if artifact.is_dir() and conversion.native else declared_in(artifact)[0]


def source_digest(artifact: Path, conversion: Conversion) -> str:
    """Hex SHA-256 of the model's own file; empty where the adapter of a folder gives one in its notes."""
    return "" if "source_sha256" in conversion.notes else file_sha256(source_file(artifact, conversion))


def check_files(
    bench: Workbench,
    package: Package,
    data: Path,
    *,
    target: str,
    against: Package | None,
    slices: Sequence[str] = (),
    max_slice_gap: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The verdict on a package, as JSON, alone or compared with another one on the same rows.

    ``slices`` and ``max_slice_gap``: :func:`modelwright.check.check`.
    """
    rows, truth = split_target(bench.source.read(data), target)
    runner = bench.runners.load(package)
    champion = (against.digest[:12], bench.runners.load(against), against) if against else None
    try:
        verdict = check(
            package,
            rows,
            truth,
            runner=runner,
            champion=champion,
            slices=slices,
            max_slice_gap=max_slice_gap,
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
