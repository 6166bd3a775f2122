"""One row of the matrix before it is run: a model, the data it is trained on, and how the framework itself is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.demo.matrix.data import Data


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model.

    ``model`` is what is packed: an object or a path. ``ask`` gives the framework's own answers: probabilities
    [n, classes] where it has them, else labels or values [n] or [n, k]; to rows as ``prepare`` makes them, which is not
    timed. ``examples`` makes of rows what :func:`modelwright.pack` takes.
    """

    model: Any
    ask: Callable[[Any], Any]
    examples: Callable[[Any], Any] = lambda rows: rows
    prepare: Callable[[Any], Any] = lambda rows: rows
    options: Mapping[str, str] = field(default_factory=dict)


Train = Callable[[Data, Path], Trained]


@dataclass(frozen=True, slots=True)
class Case:
    """``train`` gets the rows to learn from and a private folder.

    ``adapter`` is the name of the framework adapter, ``modules`` what must be installed. ``refused`` is the code of
    the error that packing is expected to end with, and ``because`` why that is right. ``native`` packs it as code.
    """

    family: str
    model: str
    data: str
    train: Train
    adapter: str
    modules: tuple[str, ...]
    refused: str = ""
    because: str = ""
    native: bool | None = None
    tabular: bool = True

    @property
    def key(self) -> str:
        """What the row is called."""
        return f"{self.family} {self.model} on {self.data}"

    @property
    def absent(self) -> str:
        """The first module that is not installed; empty where all are."""
        return next((name for name in self.modules if find_spec(name) is None), "")


def estimator(make: Callable[[], Any], learn: str = "") -> Train:
    """How an estimator with ``fit`` and ``predict`` is trained, on ``learn``: ``classes``, ``values``, ``counts``.

    Nothing to learn where it is empty. It is asked for probabilities where it has them.
    """

    def train(data: Data, folder: Path) -> Trained:
        del folder
        model = make()
        model.fit(data.rows, getattr(data, learn)) if learn else model.fit(data.rows)
        return Trained(model, own_call(model))

    return train


def own_call(model: Any) -> Callable[[Any], Any]:
    """What a user calls for an estimator's answer; of one that has none, a call that says so."""
    found: Callable[[Any], Any] | None = getattr(model, "predict_proba", None) or getattr(model, "predict", None)
    return found or _no_answer


def _no_answer(rows: Any) -> Any:
    raise TypeError(f"There is no answer to {len(rows)} new rows.")


def as_answers(said: Any) -> NDArray[Any]:
    """Own answers as an array [n, ...]: of arrays, frames, series, tensors."""
    held = said.detach() if hasattr(said, "detach") else said
    return np.asarray(held)
