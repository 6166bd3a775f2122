"""A model that runs as code and takes its columns one by one: the signature of its inputs, and the proof."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.native_answers import (
    Outputs,
    Proven,
    agreement,
    first_proven,
    native_typings,
    null_word,
    output_specs,
)
from modelwright.adapters.frameworks.sklearn_rows import Typing
from modelwright.core.native import Native
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.describe import describe
from modelwright.native import open_model


def column_inputs(examples: Table, typing: Typing, taken: Collection[str] = ()) -> Signature:
    """One input [n, 1] for each column; one that is called as in ``taken`` gets another name among the tensors."""
    null_as = null_word(examples, examples.names)
    return Signature(
        tuple(
            TensorSpec(f"{name}_input" if name in taken else name, typing.datatypes[name], (-1, 1), (name,))
            for name in examples.names
        ),
        (),
        tuple(describe(name, [examples[name]], null_as=null_as) for name in examples.names),
    )


def proven_by_columns(
    native: Native,
    file: Path,
    examples: Table,
    rows: Table,
    own: Outputs,
    meant: Mapping[str, Any],
    *,
    taken: Collection[str] = (),
) -> Proven:
    """The model opened as it will be served, in the first typing of its columns in which it answers ``own``.

    Args:
        native: how it is opened.
        file: the model's file.
        examples: all rows, for the description of the columns.
        rows: those that it is asked.
        own: its answers to them.
        meant: what the outputs mean, as fields of the signature.
        taken: names of outputs, which no input may have.

    Raises:
        RefusedError: ``pack.native-differs``.
    """

    def prove(typing: Typing) -> Proven:
        signature = replace(column_inputs(examples, typing, taken), outputs=output_specs(own), **meant)
        run = open_model(native, file, signature)
        tensors = feeds(signature, rows)
        found = run(tensors)
        return Proven(signature, tensors, found, agreement(own, found, numeric_type=typing.name), run)

    return first_proven([lambda typing=typing: prove(typing) for typing in native_typings(rows, rows.names)])  # type: ignore[misc]
