"""Examples as the tensors of a model: one matrix, an input for each column, or arrays by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.sklearn_rows import input_signature
from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES, Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.describe import describe
from modelwright.features.tabular import rows_evenly

ROWS = 1000
_DATATYPES = {dtype: name for name, dtype in DATATYPES.items()}
Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Typed:
    """One way to give the examples: a signature of inputs, and the examples as its feeds."""

    name: str
    signature: Signature
    feeds: Tensors


def ways(
    names: Sequence[str], required: int, examples: Table | None, tensors: Tensors, dynamic: Mapping[str, set[int]]
) -> Iterator[Typed]:
    """The ways worth trying to give the examples, the plainest first.

    Args:
        names: the model's arguments; empty where it does not name them.
        required: how many of them it cannot do without.
        examples: rows, or
        tensors: arrays by name, each [n, ...].
        dynamic: axes besides the first that may have any size, by input.

    Raises:
        BadInputError: ``pack.no-examples``, ``pack.unsupported-column``, ``pack.wrong-columns``,
            ``pack.wrong-tensors``.
    """
    if tensors:
        yield from _of_tensors(names, required, tensors, dynamic)
        return
    if examples is None or len(examples) == 0:
        raise BadInputError(
            "pack.no-examples",
            "There are no examples.",
            why="A conversion is only trusted when it is proven on rows.",
            fix="Give rows (--data FILE.parquet), or arrays by the names of its inputs (--data FILE.npz).",
        )
    yield from _of_table(names, required, examples)


def _of_table(names: Sequence[str], required: int, examples: Table) -> Iterator[Typed]:
    for name in examples.names:
        if examples[name].dtype.kind not in "biuf":
            raise BadInputError(
                "pack.unsupported-column",
                f"Column {name!r} holds no numbers.",
                why="The model takes tensors of numbers.",
                fix="Give the columns as the model was trained on them, encoded as numbers.",
            )
    rows = examples.take(rows_evenly(len(examples), ROWS))
    by_column = required > 1
    absent = [name for name in names[:required] if name not in examples] if by_column else []
    extra = [name for name in examples.names if by_column and name not in names]
    if absent or extra:
        raise BadInputError(
            "pack.wrong-columns",
            f"The model takes {', '.join(names)}; the examples have {', '.join(examples.names)}.",
            why="A model of several inputs takes one column for each, by name.",
            fix="Name the columns as its inputs, or give arrays by their names: --data FILE.npz.",
        )
    whole = all(examples[name].dtype.kind in "biu" for name in examples.names)
    described = tuple(describe(name, [examples[name]]) for name in examples.names)
    for kind in ("FP32", *(("INT64",) if whole else ()), "FP64"):
        if by_column:
            specs = tuple(TensorSpec(name, kind, (-1, 1), (name,)) for name in names if name in examples)
        else:
            specs = (TensorSpec(names[0] if names else "X", kind, (-1, len(examples.names)), examples.names),)
        signature = input_signature(specs, described)
        yield Typed(kind, signature, feeds(signature, rows))


def _of_tensors(
    names: Sequence[str], required: int, tensors: Tensors, dynamic: Mapping[str, set[int]]
) -> Iterator[Typed]:
    if len(tensors) == 1 and required <= 1:
        tensors = {(names or tuple(tensors))[0]: next(iter(tensors.values()))}
    absent = [name for name in names[:required] if name not in tensors]
    extra = [name for name in tensors if names and name not in names]
    sizes = {len(array) if array.ndim else 0 for array in tensors.values()}
    if absent or extra or len(sizes) != 1 or 0 in sizes:
        given = ", ".join(f"{name} {list(array.shape)}" for name, array in tensors.items())
        raise BadInputError(
            "pack.wrong-tensors",
            "The arrays are not the model's inputs.",
            why=f"The model takes {', '.join(names) or 'any tensor'}; given: {given}.",
            fix="Give one array for each input, named as it, each with the same number of rows.",
        )
    ordered = {name: tensors[name] for name in (names or tensors) if name in tensors}
    some = {name: array[rows_evenly(len(array), ROWS)] for name, array in ordered.items()}
    narrow = {name: _narrow(array) for name, array in some.items()}
    yield _given("FP32 for FP64", narrow, dynamic)
    if any(narrow[name].dtype != array.dtype for name, array in some.items()):
        yield _given("as in the examples", some, dynamic)


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _given(kind: str, tensors: Tensors, dynamic: Mapping[str, set[int]]) -> Typed:
    specs = []
    for name, array in tensors.items():
        if array.dtype.kind not in "biuf":
            raise BadInputError(
                "pack.wrong-tensors",
                f"The array {name!r} holds no numbers.",
                fix="Give the tensors as the model takes them.",
            )
        axes = dynamic.get(name, set())
        shape = (-1, *(-1 if axis in axes else int(size) for axis, size in enumerate(array.shape[1:], start=1)))
        specs.append(TensorSpec(name, _DATATYPES[array.dtype], shape))
    return Typed(kind, Signature(tuple(specs), ()), tensors)
