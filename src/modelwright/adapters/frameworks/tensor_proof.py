"""A model that answers tensors: what it is asked, and the proof of a graph or of what it answers as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from modelwright.adapters.frameworks.adversarial import golden_rows
from modelwright.adapters.frameworks.adversarial_tensors import judge
from modelwright.adapters.frameworks.native_answers import (
    Outputs,
    Run,
    agreement,
    meaning,
    output_specs,
    stands_alone,
)
from modelwright.adapters.frameworks.parity import beyond_refusal
from modelwright.adapters.frameworks.sklearn_advice import examples_rejected, first_line
from modelwright.adapters.frameworks.tensor_inputs import Typed
from modelwright.core.errors import BadInputError, ModelwrightError, RefusedError
from modelwright.core.package import Parity
from modelwright.core.signature import Signature, TensorSpec
from modelwright.ports.framework import Hints

TOLERANCE = 1e-4
"""FP32 sums of a few thousand products in another order differ by about 1e-5; a wrong operator differs by far more."""
GOLDEN_NUMBERS = 4096
"""Rows of more numbers are proven here, and not again wherever they load."""


@dataclass(frozen=True, slots=True)
class Question:
    """A way to ask the model that it takes, its own answers, and the signature that it will be served with."""

    typed: Typed
    own: Outputs
    signature: Signature


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of a model, in the words of a refusal: its name, what runs it, and the nearest other way."""

    name: str
    runs_on: str
    other: str

    @property
    def advice(self) -> str:
        """The other way as a sentence."""
        return f"{self.other[:1].upper()}{self.other[1:]}."


GRAPH = Made("graph", "ONNX Runtime", "pack it as it is: --native")


def question(ways: Iterator[Typed], answer: Run, hints: Hints, target: str) -> Question:
    """Try the ways to give the examples until the model answers one.

    ``hints`` may name the outputs and the classes: ``outputs``, ``classes``.

    Raises:
        BadInputError: ``pack.examples-rejected``, ``pack.unsupported-model``, ``pack.fixed-batch``,
            ``pack.wrong-outputs``.
    """
    failure: Exception | None = None
    for typed in ways:
        try:
            own = answer(typed.feeds)
        except ModelwrightError:
            raise
        except Exception as error:  # noqa: BLE001 - a model's code raises anything; each is one tried typing
            failure = failure or error
        else:
            return _question(typed, own, answer, hints, target)
    assert failure is not None
    raise examples_rejected(failure) from failure


def _question(typed: Typed, own: Outputs, answer: Run, hints: Hints, target: str) -> Question:
    said = [name.strip() for name in hints.options.get("outputs", "").split(",") if name.strip()]
    if said and len(said) != len(own):
        raise BadInputError(
            "pack.wrong-outputs",
            f"The model gives {len(own)} tensors, and {len(said)} names are given for them.",
            fix=f"Name each: --option outputs={','.join(own)}.",
        )
    taken = {spec.name for spec in typed.signature.inputs}
    names = [name if name not in taken else f"{name}_output" for name in said or own]
    own = dict(zip(names, own.values(), strict=True))
    _require_rows(typed, own, answer)
    classes = [name.strip() for name in hints.options.get("classes", "").split(",") if name.strip()]
    outputs = _with_free_axes(typed, answer, output_specs(own))
    signature = replace(typed.signature, outputs=outputs, **meaning(own, classes, target))
    return Question(typed, own, signature)


def _with_free_axes(typed: Typed, answer: Run, outputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """The outputs, of any size along the axes that change when the free axes of the inputs are one shorter."""
    free = {
        spec.name: [axis for axis, size in enumerate(spec.shape) if axis and size < 0]
        for spec in typed.signature.inputs
    }
    if not any(free.values()):
        return outputs
    shorter = dict(typed.feeds)
    for name, axes in free.items():
        for axis in axes:
            size = shorter[name].shape[axis]
            shorter[name] = shorter[name].take(range(max(1, size - 1)), axis=axis)
    try:
        found = answer(shorter).values()
    except Exception as error:
        raise examples_rejected(error) from error
    return tuple(
        replace(
            spec,
            shape=tuple(
                -1 if one != other else one for one, other in zip(spec.shape, (-1, *array.shape[1:]), strict=True)
            ),
        )
        for spec, array in zip(outputs, found, strict=True)
    )


def _require_rows(typed: Typed, own: Outputs, answer: Run) -> None:
    rows = len(next(iter(typed.feeds.values())))
    for name, array in own.items():
        if not array.ndim or len(array) != rows:
            raise BadInputError(
                "pack.unsupported-model",
                f"The output {name!r} has the shape {list(array.shape)} for {rows} rows.",
                why="Each answer must have one entry for each row.",
                fix="Let the model give tensors whose first dimension is that of its input.",
            )
    try:
        answer({name: array[:1] for name, array in typed.feeds.items()})
        answer({name: array[[0, 0, 0]] for name, array in typed.feeds.items()})
    except Exception as error:
        raise BadInputError(
            "pack.fixed-batch",
            f"The model takes {rows} rows at once, and no other number of them.",
            why=f"{type(error).__name__}: {first_line(error)}.",
            fix="Export it with a first dimension of any size (in PyTorch: "
            "dynamic_shapes={'x': {0: torch.export.Dim.DYNAMIC}}), and let the model take any number of rows.",
        ) from error


@dataclass(frozen=True, slots=True)
class Proof:
    """The certificate, and the feeds of rows made from the signature to which both gave the same answers."""

    parity: Parity
    beyond: Outputs

    def golden(self, run: Run) -> dict[str, Any]:
        """Those feeds and the answers of what was made, as a :class:`Conversion` has them."""
        return {"beyond_inputs": self.beyond, "beyond_outputs": run(self.beyond)} if self.beyond else {}


def proof(asked: Question, answer: Run, run: Run, made: Made = GRAPH) -> Proof:
    """The certificate over all rows and over rows made from them; one and two rows must come out alike too.

    ``run`` answers as ``made`` does, what the model was converted to.

    Raises:
        RefusedError: ``pack.parity-failed``.
    """
    parity = _on_examples(asked, answer, run, made)

    def original(tensors: Outputs) -> dict[str, NDArray[Any]]:
        return dict(zip(asked.own, answer(tensors).values(), strict=True))

    compared = judge(asked.typed.feeds, original, run, TOLERANCE)
    parity = replace(parity, adversarial=compared.record)
    if compared.broken:
        raise beyond_refusal(compared.broken, parity, advice=made.advice)
    rows = golden_rows(compared)
    small = rows is not None and sum(array[:1].size for array in rows.columns.values()) <= GOLDEN_NUMBERS
    return Proof(parity, rows.columns if rows is not None and small else {})


def _on_examples(asked: Question, answer: Run, run: Run, made: Made) -> Parity:
    feeds, kind = asked.typed.feeds, asked.typed.name
    rows = len(next(iter(feeds.values())))
    worst: Parity | None = None
    for size in dict.fromkeys((1, min(2, rows), rows)):
        some = {name: array[:size] for name, array in feeds.items()}
        wanted = dict(zip(asked.own, answer(some).values(), strict=True))
        try:
            found = run(some)
        except Exception as error:
            raise RefusedError(
                "pack.parity-failed",
                f"The {made.name} does not run on {size} rows.",
                why=f"{made.runs_on} says: {first_line(error)}.",
                fix=f"Let the model take any number of rows, or {made.other}.",
            ) from error
        if any(found[name].shape != wanted[name].shape for name in wanted):
            raise RefusedError(
                "pack.parity-failed",
                f"The {made.name} gives other shapes than the original on {size} rows.",
                why=f"{[list(array.shape) for array in found.values()]}, where it gives "
                f"{[list(array.shape) for array in wanted.values()]}.",
                fix=f"Let the model take any number of rows, or {made.other}.",
            )
        worst = agreement(wanted, found, numeric_type=kind, tolerance=TOLERANCE)
        if not worst.holds:
            raise RefusedError(
                "pack.parity-failed",
                "The converted model does not answer as the original does.",
                why=f"The largest difference on {size} rows is {worst.max_difference:.3g} (allowed: {TOLERANCE:g}), in "
                f"row {worst.worst_row}; {worst.label_flips} whole numbers differ.",
                fix=made.advice,
                details={"worst_row": worst.worst_row, "max_difference": worst.max_difference},
            )
    assert worst is not None
    return worst


def kept(asked: Question, run: Run) -> tuple[dict[str, NDArray[Any]], Parity, str]:
    """Answers of the model opened as it will be served, their certificate, and why rows do not stand alone if so.

    Raises:
        RefusedError: ``pack.native-differs``, ``pack.not-repeatable``.
    """
    outputs: Mapping[str, NDArray[Any]] = run(asked.typed.feeds)
    parity = agreement(asked.own, outputs, numeric_type=asked.typed.name, tolerance=TOLERANCE)
    apart = stands_alone(run, asked.typed.feeds, tolerance=TOLERANCE)  # what is not repeatable says so, not "differs"
    if not parity.holds:
        raise RefusedError(
            "pack.native-differs",
            "The packed model does not answer as the original does.",
            why=f"The largest difference is {parity.max_difference:.3g}, in row {parity.worst_row}.",
            fix="A model must give the same answer each time.",
        )
    return dict(outputs), parity, apart
