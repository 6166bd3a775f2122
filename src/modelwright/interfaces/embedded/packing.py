"""``modelwright.pack`` and ``modelwright.open_package``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright import wiring
from modelwright.adapters.stores.package_files import open_path, write_directory, write_zip
from modelwright.check import check as judge
from modelwright.core.content import file_sha256
from modelwright.core.errors import BadInputError
from modelwright.core.graph import declared_in
from modelwright.core.names import require_model_name
from modelwright.core.native import Isolation
from modelwright.core.package import Package
from modelwright.core.signature import DATATYPES, InputPolicy
from modelwright.core.table import Table, missing
from modelwright.core.verdict import Verdict
from modelwright.features.columns import feeds
from modelwright.features.tabular import column, table
from modelwright.lifecycle.local import owner
from modelwright.pack import Evidence, build
from modelwright.ports.framework import Framework, Hints, Route
from modelwright.ports.runner import Runner
from modelwright.serve.policy import ValuePolicy
from modelwright.serve.validate import InputCheck


class PackedModel:
    """A package in hand. Holds its runner from the first prediction on."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self._runner: Runner | None = None

    def __repr__(self) -> str:
        return f"PackedModel({self.package.name!r}, digest={self.package.digest[:12]!r})"

    @property
    def name(self) -> str:
        """The model's name."""
        return self.package.name

    @property
    def digest(self) -> str:
        """The package's identity."""
        return self.package.digest

    def save(self, path: str | Path) -> Path:
        """Write the package: one file, or a directory where ``path`` has no suffix or is a directory; returns the path.

        Raises:
            BadInputError: ``package.unwritable``.
            ConflictError: ``package.directory-not-empty``.
        """
        to = Path(path)
        if to.is_dir() or not to.suffix:
            write_directory(self.package, to)
        else:
            write_zip(self.package, to)
        return to

    def predict(self, rows: Any) -> dict[str, NDArray[Any]]:
        """Answers to rows, one entry of every output for each.

        Args:
            rows: what :func:`modelwright.features.tabular.table` takes (data frame, dictionary of columns, list of
                row dictionaries, array), or a dictionary of input tensors by name.

        Raises:
            BadInputError: a missing column, a value of the wrong type, a wrong shape, or one that the model's input
            policy refuses. What the policy only reports is a Python warning.
        """
        if self._runner is None:
            self._runner = wiring.runners().load(self.package)
        signature = self.package.signature
        feeds, _ = InputCheck(self.name, signature).check(*self._tensors(rows))
        policy = ValuePolicy(self.name, signature)
        policy.require_finite(feeds)
        feeds, reports = policy.judge(feeds)
        for report in reports:
            warnings.warn(f"{self.name}: {report}", stacklevel=2)
        return self._runner.run(feeds)

    def check(
        self,
        rows: Any,
        truth: Any,
        *,
        gates: Mapping[str, float] | None = None,
        slices: Sequence[str] = (),
        max_slice_gap: Mapping[str, float] | None = None,
    ) -> Verdict:
        """Judge the model on labelled rows, and again by the values of columns that ``slices`` names.

        Args:
            rows: as :func:`predict`, with the columns to slice by, whether the model uses them or not.
            truth: the truth of each row, [n].
            gates: metric name to the least value (for a loss: the largest) that passes.
            slices: names of columns.
            max_slice_gap: metric name to how much worse than the rest a group may be.

        Raises:
            BadInputError: as :func:`modelwright.check.check`.
        """
        if self._runner is None:
            self._runner = wiring.runners().load(self.package)
        return judge(
            self.package,
            self._table(rows),
            column(truth),
            runner=self._runner,
            gates=gates,
            slices=slices,
            max_slice_gap=max_slice_gap,
        )

    def _tensors(self, rows: Any) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.bool_]]]:
        """The input tensors, and where a text is missing (a missing number is NaN)."""
        signature = self.package.signature
        if not signature.features:  # plain tensors, by the names of the inputs
            named = rows if isinstance(rows, dict) else {signature.inputs[0].name: rows}
            known = {spec.name: DATATYPES[spec.datatype] for spec in signature.inputs}
            return {name: np.asarray(value, dtype=known.get(name)) for name, value in named.items()}, {}
        given = self._table(rows)
        tensors, nulls = feeds(signature, given), {}
        for spec in signature.inputs:
            if spec.datatype == "BYTES":
                nulls[spec.name] = np.stack([missing(given[name]) for name in spec.features or (spec.name,)], axis=1)
        return tensors, nulls

    def _table(self, rows: Any) -> Table:
        """Rows of any form; the columns of an array are the features in the order of the inputs."""
        order = [name for spec in self.package.signature.inputs for name in spec.features]
        is_array = not isinstance(rows, Table | dict) and not hasattr(rows, "columns")
        return table(rows, order if is_array and not _row_dicts(rows) else ())


def pack(
    model: Any,
    *,
    name: str,
    examples: Any = None,
    labels: Any = None,
    reference: Any = None,
    target: str = "target",
    evidence: Evidence | None = None,
    policy: InputPolicy | None = None,
    native: bool | None = None,
    isolation: Isolation = "strict",
    idempotent: bool = True,
    options: Mapping[str, str] | None = None,
) -> PackedModel:
    """Turn a trained model into a package.

    Args:
        model: a fitted scikit-learn estimator or pipeline, the path of an ``.onnx``, ``.joblib``, ``.pkl`` or ``.py``
            file or of a model directory of MLflow's, or ``models:/NAME/VERSION`` or ``runs:/RUN/PATH`` of MLflow's.
        name: the model's name: ``a-z``, ``0-9``, ``.``, ``_``, ``-``.
        examples: feature rows (without the target) the conversion is proven on; best held out from training. For a
            model whose input is no table, a dictionary of arrays [n, ...] by input name.
        labels: ground truth of the examples, one value per row.
        reference: feature rows of the training data.
        target: name of what is predicted.
        evidence: what the model card should say besides: purpose, owner, data, evaluation, limits.
        policy: what becomes of values that the model has not seen; taken, where nothing is said.
        native: True: the model runs as code in a jailed process; False: it is converted to ONNX or refused; None: it
            is converted where it can be, and ``package.description.notes["route"]`` says why where it cannot.
        isolation: the jail that a model which runs as code needs at least: ``strict``, ``standard`` or ``off``.
        idempotent: a request to a model that runs as code may be run again when its process died.
        options: what the framework adapter takes besides, by name.

    Raises:
        BadInputError: the model or the rows cannot be used; the message says why and what to do.
        RefusedError: ``pack.unconvertible`` or ``pack.parity-failed`` where ONNX is asked for;
            ``pack.native-differs`` or ``pack.not-repeatable`` of a model that runs as code.
    """
    require_model_name(name)
    with wiring.local_model(model) if isinstance(model, str) else nullcontext(model) as found:
        return _pack(
            found, name, examples, labels, reference, target, evidence, policy, native, isolation, idempotent, options
        )


def _pack(
    model: Any,
    name: str,
    examples: Any,
    labels: Any,
    reference: Any,
    target: str,
    evidence: Evidence | None,
    policy: InputPolicy | None,
    native: bool | None,
    isolation: Isolation,
    idempotent: bool,
    options: Mapping[str, str] | None,
) -> PackedModel:
    """As :func:`pack`, of what lies on this machine."""
    source = Path(model) if isinstance(model, str | Path) else None
    if source is not None and not declared_in(source)[0].exists():
        raise BadInputError("pack.missing-file", f"There is no {str(source)!r}.", fix="Check the path.")
    names = [str(known) for known in getattr(model, "feature_names_in_", ())]
    tensors = _as_tensors(examples)
    rows = None if examples is None or tensors else table(examples, _names_for(examples, names))
    trained = None if reference is None else table(reference, _names_for(reference, names))
    truth = None if labels is None else column(labels)
    if truth is not None and rows is not None and len(truth) != len(rows):
        raise BadInputError(
            "pack.labels-differ",
            f"There are {len(rows)} examples and {len(truth)} labels.",
            fix="Give one label for each row.",
        )
    subject = source if source is not None else model
    route: Route = "auto" if native is None else "native" if native else "onnx"
    conversion = _owner(subject).convert(
        subject, rows, target=target, route=route, isolation=isolation, hints=Hints(tensors, options or {})
    )
    if source is not None and source.is_dir() and conversion.native is not None:
        source = source / conversion.native.file
    known = source is None or "source_sha256" in conversion.notes  # a folder's adapter says it
    digest = "" if known or source is None else file_sha256(declared_in(source)[0])
    return PackedModel(
        build(
            conversion,
            name=name,
            examples=rows,
            labels=truth,
            reference=trained,
            source_sha256=digest,
            evidence=evidence,
            policy=policy,
            idempotent=idempotent,
        )
    )


def open_package(path: str | Path) -> PackedModel:
    """Open a package that was saved as a file or a directory; every byte read is verified, no code is run.

    Raises:
        NotFoundError: ``package.not-found``.
        CorruptError: damaged, changed or unsafe content.
    """
    return PackedModel(open_path(Path(path)))


def _owner(model: object) -> Framework:
    known = wiring.frameworks()
    if isinstance(model, Path):
        return owner(known, model)
    for framework in known:
        if framework.owns(model):
            return framework
    raise BadInputError(
        "pack.no-framework",
        f"No framework adapter converts {type(model).__name__!r}.",
        why=f"Tried: {', '.join(framework.name for framework in known) or 'none is installed'}.",
        fix="Give a trained model of a framework that is installed (`modelwright plugins`), or the path of its file.",
    )


def _as_tensors(examples: Any) -> dict[str, NDArray[Any]]:
    """Examples that are no table: arrays of more than two dimensions, alone or by name; empty where they are one."""
    if isinstance(examples, dict):
        arrays = {str(name): np.asarray(value) for name, value in examples.items()}
        return arrays if any(array.ndim > 1 for array in arrays.values()) else {}
    return {"input": np.asarray(examples)} if getattr(examples, "ndim", 0) > 2 else {}


def _names_for(rows: Any, names: list[str]) -> list[str]:
    """The training column names for rows that carry none; nothing where the widths differ."""
    if isinstance(rows, Table | dict) or hasattr(rows, "columns") or _row_dicts(rows):
        return []
    shape = rows.shape if hasattr(rows, "shape") else np.shape(rows)
    return names if len(shape) == 2 and shape[1] == len(names) else []


def _row_dicts(rows: Any) -> bool:
    return isinstance(rows, list | tuple) and bool(rows) and isinstance(rows[0], dict)
