"""The demo's files: training and validation rows, recipe and project file, the first model, and the broken one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelwright.adapters.trainers.recipe import RecipeTrainer
from modelwright.demo.flights import MODEL, TARGET, Flights
from modelwright.ports.trainer import Recipe, Trained

if TYPE_CHECKING:
    import pandas as pd

PROJECT = f"""# What this project asks of its models; `modelwright --project modelwright.yaml ...` reads it.
models:
  {MODEL}:
    recipe:
      load: recipe.py:load
      train: recipe.py:train
      target: {TARGET}
    canary:
      weight: 0.2
      requests: 300
      timeout: 120
    margin: 0.01
    slices: [origin]
    keep_shadow: "1"
"""


def lay_out(folder: Path) -> None:
    """An empty demo folder with the recipe and the project file; what an earlier demo left there is removed."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name in ("recipe.py", "broken_recipe.py"):
        shutil.copyfile(Path(__file__).with_name(name), folder / name)
    (folder / "modelwright.yaml").write_text(PROJECT)


def write_rows(frame: pd.DataFrame, path: Path) -> Path:
    """A data frame as Parquet, by DuckDB."""
    import duckdb  # lazy: 100 ms

    duckdb.from_df(frame).write_parquet(str(path))
    return path


def train(flights: Flights, folder: Path) -> Trained:
    """The first model and its files under ``folder/first``: the recipe on January and February."""
    write_rows(flights.frame(np.flatnonzero(flights.month <= 2)), folder / "train.parquet")
    return RecipeTrainer().train(recipe(folder, "recipe.py"), recorded=None, work=folder / "first")


def train_broken(flights: Flights, folder: Path, *, before_month: int) -> Trained:
    """A candidate trained on weather in metric units (``folder/broken``), while the service sends what it always sent.

    Its validation rows are those of the month before, as the service sees them.
    """
    write_rows(flights.frame(np.flatnonzero(flights.month < before_month - 1)), folder / "broken-train.parquet")
    write_rows(flights.frame(np.flatnonzero(flights.month == before_month - 1)[::5]), folder / "broken-rows.parquet")
    return RecipeTrainer().train(recipe(folder, "broken_recipe.py"), recorded=None, work=folder / "broken")


def recipe(folder: Path, name: str) -> Recipe:
    """The callables of one recipe file."""
    return Recipe(root=folder.absolute(), load=f"{name}:load", train=f"{name}:train", target=TARGET)
