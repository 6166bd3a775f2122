"""A Python file that answers by itself: its signature from the examples and from what it says to them.

Runs in the jailed process only.
"""

from __future__ import annotations

import ast
import platform
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.examples import require_examples
from modelwright.adapters.frameworks.families import Asked
from modelwright.adapters.frameworks.native_answers import (
    Outputs,
    meaning,
    native_typings,
    stands_alone,
)
from modelwright.adapters.frameworks.native_columns import column_inputs, proven_by_columns
from modelwright.core.errors import BadInputError
from modelwright.core.native import Native
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.tabular import rows_evenly
from modelwright.native import OpenModel, open_model
from modelwright.native.python_file import MODULE
from modelwright.ports.framework import Conversion

NATIVE = Native("python", "model.py")
_ROWS, _CHUNKS = 500, 3


def import_trusted() -> None:
    """Nothing: a Python file imports what it needs by itself."""


def opened(asked: Asked) -> Path:
    """The file, which is opened as serving will open it."""
    return asked.path


def convert_opened(file: Path, asked: Asked) -> Conversion:
    """See :func:`convert_python`."""
    return convert_python(file, asked.examples, target=asked.target)


def convert_python(file: Path, examples: Table | None, *, target: str) -> Conversion:
    """What a package needs to serve the file: one input [n, 1] for each column, outputs as it gives them.

    Raises:
        BadInputError: ``pack.no-examples``, ``pack.unsupported-column``, ``native.unreadable-model``,
            ``serve.model-rejected-input``, ``pack.wrong-classes``.
        InternalError: ``native.bad-answer``.
        RefusedError: ``pack.native-differs``, ``pack.not-repeatable``.
    """
    examples = require_examples(
        examples, "The columns of a Python model are those of its examples, its outputs what it answers to them."
    )
    _refuse_times(examples)
    rows = examples.take(rows_evenly(len(examples), _ROWS))
    exact = native_typings(rows, rows.names)[-1]
    own = open_model(NATIVE, file, inputs := column_inputs(examples, exact))(feeds(inputs, rows))
    _require_outputs(own)
    meant = meaning(own, getattr(sys.modules[MODULE], "CLASSES", ()), target)
    proven = proven_by_columns(NATIVE, file, examples, rows, own, meant)
    apart = stands_alone(proven.run, proven.feeds)
    model = proven.run
    assert isinstance(model, OpenModel)
    _try_stream(model, proven.feeds)
    notes = {"route": "A Python file runs as it is."} | ({"rows": f"do not stand alone: {apart}"} if apart else {})
    return Conversion(
        onnx=b"",
        signature=proven.signature,
        parity=None,
        inputs=proven.feeds,
        outputs=proven.outputs,
        framework="python",
        framework_version=platform.python_version(),
        model_class="Model" if hasattr(sys.modules[MODULE], "Model") else "predict",
        environment=environment({*_imported(file), "numpy"}),
        notes=notes,
        row_independent=not apart,
        native=replace(NATIVE, streams=model.streams, sequences=model.sequences),
    )


def _try_stream(model: OpenModel, feeds: Outputs) -> None:
    """Hold the first chunks for the first example to the signature, where the model gives chunks."""
    if not model.streams:
        return
    chunks = model.stream({name: tensor[:1] for name, tensor in feeds.items()})
    for _ in islice(chunks, _CHUNKS):
        pass
    chunks.close()  # type: ignore[attr-defined]  # a generator


def _refuse_times(examples: Table) -> None:
    for name in examples.names:
        if examples[name].dtype.kind in "mM":
            raise BadInputError(
                "pack.unsupported-column",
                f"Column {name!r} holds times.",
                fix="Turn times into numbers (hour, weekday, seconds) before the model sees them.",
            )


def _require_outputs(own: Outputs) -> None:
    if not own:
        raise BadInputError(
            "pack.unsupported-model",
            "The model answers nothing.",
            why="predict returned an empty dictionary.",
            fix="Return at least one array by name.",
        )


def _imported(file: Path) -> set[str]:
    """The modules that the file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found
