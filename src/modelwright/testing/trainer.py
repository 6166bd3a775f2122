"""Training without a process: a fake trainer, and the conformance class of the port."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from modelwright.core.errors import RefusedError
from modelwright.ports.trainer import Recipe, Trained, Trainer
from modelwright.testing.errors import error_code

RECIPE = """
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

def load(recorded):
    frame = pd.DataFrame({"a": np.arange(100.0), "b": np.arange(100.0) % 7})
    label = (frame.a % 2).astype(int).rename("y")
    return frame, label

def train(X, y):
    return LogisticRegression().fit(X, y)
"""


def recipe_in(root: Path, text: str, *, timeout_seconds: float = 60.0) -> Recipe:
    """A recipe file in a directory, with functions ``load`` and ``train`` and the target ``y``."""
    (root / "recipe.py").write_text(text)
    return Recipe(root, "recipe.py:load", "recipe.py:train", "y", timeout_seconds)


class FixedTrainer:
    """Gives what a function makes: ``make(recorded, work)`` writes the three files into ``work``.

    Args:
        make: returns the number of training rows; its files are ``model.joblib`` (or ``.onnx``),
            ``validation.parquet`` and ``reference.parquet``.
        model: name of the model's file.
    """

    def __init__(self, make: Callable[[Path | None, Path], int], *, model: str = "model.joblib") -> None:
        self._make, self._model = make, model
        self.runs = 0

    def train(self, recipe: Recipe, *, recorded: Path | None, work: Path) -> Trained:
        """Make the files anew."""
        if not (recipe.root / recipe.load.partition(":")[0]).is_file():
            raise RefusedError("retrain.recipe-missing", f"There is no recipe {recipe.load!r}.")
        self.runs += 1
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        rows = self._make(recorded, work)
        return Trained(work / self._model, work / "validation.parquet", work / "reference.parquet", rows, 0.0)


class TrainerConformance:
    """Inherit, and give a fixture ``trainer``."""

    def test_training_leaves_its_files_in_the_work_directory(self, trainer: Trainer, tmp_path: Path) -> None:
        """A model, validation rows and reference rows."""
        trained = trainer.train(recipe_in(tmp_path, RECIPE), recorded=None, work=tmp_path / "work")
        for path in (trained.model, trained.validation, trained.reference):
            assert path.parent == tmp_path / "work"
            assert path.stat().st_size > 0
        assert trained.rows > 0
        assert trained.seconds >= 0

    def test_a_missing_recipe_is_refused(self, trainer: Trainer, tmp_path: Path) -> None:
        """With a code of its own."""
        recipe = Recipe(tmp_path, "nonesuch.py:load", "nonesuch.py:train", "y")
        code = error_code(trainer.train, recipe, recorded=None, work=tmp_path / "work")
        assert code == "retrain.recipe-missing"
