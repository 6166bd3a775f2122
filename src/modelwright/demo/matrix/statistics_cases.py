"""The rows of statsmodels, river and MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.demo.matrix.case import Case, Trained, estimator
from modelwright.demo.matrix.data import Data


def _statsmodels(kind: str, data: Data, folder: Path) -> Trained:
    """A fitted result; it is asked with the constant that it was fitted with."""
    import statsmodels.api as sm  # lazy: an extra

    del folder
    rows = sm.add_constant(data.rows)
    if kind == "OLS":
        fitted = sm.OLS(data.values, rows).fit()
    elif kind == "Logit":
        fitted = sm.Logit(data.classes, rows).fit(disp=0)
    else:
        fitted = sm.GLM(data.counts, rows, family=sm.families.Poisson()).fit()
    with_constant = partial(sm.add_constant, has_constant="add")
    return Trained(fitted, lambda asked: fitted.predict(with_constant(asked)), with_constant)


def _river(make: Callable[[], Any], data: Data, folder: Path) -> Trained:
    """A model that learnt one row after another."""
    del folder
    model = make()
    for row, truth in zip(_as_dicts(data.rows), data.values, strict=True):
        model.learn_one(row, float(truth))
    return Trained(model, lambda rows: np.array([model.predict_one(row) for row in _as_dicts(rows)]))


def _as_dicts(rows: Any) -> list[dict[str, float]]:
    return [{f"x{place}": float(value) for place, value in enumerate(row)} for row in np.asarray(rows)]


def _river_linear() -> Any:
    from river import linear_model, preprocessing  # lazy: an extra

    return preprocessing.StandardScaler() | linear_model.LinearRegression()


def _river_tree() -> Any:
    from river import tree  # lazy: an extra

    return tree.HoeffdingTreeRegressor()


def _mlflow(data: Data, folder: Path) -> Trained:
    """A scikit-learn pipeline as MLflow keeps it."""
    import mlflow  # lazy: an extra
    from sklearn.linear_model import LogisticRegression

    made = estimator(LogisticRegression, "classes")(data, folder)
    mlflow.sklearn.save_model(made.model, str(folder / "logged"), serialization_format="cloudpickle")
    return Trained(folder / "logged", made.ask)


def cases() -> Iterator[Case]:
    """Every row of the three."""
    needs = ("statsmodels", "pandas")
    for kind, data in (("OLS", "numbers"), ("Logit", "numbers"), ("GLM of Poisson", "counts")):
        yield Case("statsmodels", kind, data, partial(_statsmodels, kind), "statsmodels", needs)
    yield Case("river", "scaler and LinearRegression", "numbers", partial(_river, _river_linear), "river", ("river",))
    yield Case("river", "HoeffdingTreeRegressor", "numbers", partial(_river, _river_tree), "river", ("river",))
    yield Case("MLflow", "LogisticRegression in a model folder", "numbers", _mlflow, "mlflow", ("mlflow", "sklearn"))
