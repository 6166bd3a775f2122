"""Running the user's own training callables, outside our process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Recipe:
    """The user's callables as ``file.py:function``, resolved against ``root``; ``target`` names the label column.

    ``load(recorded)`` gets the path of a Parquet file of recorded, joined rows (or None) and returns
    ``(X, y)`` or ``(X, y, X_validation, y_validation)``; ``train(X, y)`` returns a fitted model.
    """

    root: Path
    load: str
    train: str
    target: str
    timeout_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Trained:
    """Files in the work directory: the model, the validation rows with the target, and the training rows."""

    model: Path
    validation: Path
    reference: Path
    rows: int
    seconds: float


class Trainer(Protocol):
    """Runs a recipe."""

    def train(self, recipe: Recipe, *, recorded: Path | None, work: Path) -> Trained:
        """Raises RefusedError (``retrain.recipe-failed``, with the last lines of its output) or DeadlineError."""
        ...
