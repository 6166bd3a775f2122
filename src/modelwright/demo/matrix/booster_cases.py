"""The rows of boosted trees: XGBoost, LightGBM, CatBoost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from modelwright.demo.matrix.case import Case, Trained, estimator
from modelwright.demo.matrix.data import Data

ROUNDS = 30
BASE: Mapping[str, dict[str, Any]] = {
    "xgboost": {"n_estimators": ROUNDS, "max_depth": 4, "n_jobs": 1},
    "lightgbm": {"n_estimators": ROUNDS, "num_leaves": 15, "n_jobs": 1, "verbose": -1},
    "catboost": {"iterations": ROUNDS, "depth": 4, "thread_count": 1, "verbose": 0, "allow_writing_files": False},
}
TITLES = {"xgboost": "XGBoost", "lightgbm": "LightGBM", "catboost": "CatBoost"}
ESTIMATORS: tuple[tuple[str, str, str, tuple[str, ...], dict[str, Any]], ...] = (
    ("xgboost", "XGBClassifier", "classes", ("numbers", "gaps", "wide"), {}),
    ("xgboost", "XGBRFClassifier", "classes", ("numbers",), {}),
    ("xgboost", "XGBRegressor", "values", ("numbers", "gaps"), {}),
    ("xgboost", "XGBRegressor", "counts", ("counts",), {"objective": "count:poisson"}),
    ("lightgbm", "LGBMClassifier", "classes", ("numbers", "gaps", "wide", "classes"), {}),
    ("lightgbm", "LGBMRegressor", "values", ("numbers", "gaps"), {}),
    ("lightgbm", "LGBMRegressor", "counts", ("counts",), {"objective": "poisson"}),
    ("catboost", "CatBoostClassifier", "classes", ("numbers", "gaps", "wide", "classes"), {}),
    ("catboost", "CatBoostRegressor", "values", ("numbers", "gaps"), {}),
    ("catboost", "CatBoostRegressor", "counts", ("counts",), {"loss_function": "Poisson"}),
)


def _made(library: str, name: str, **more: Any) -> Any:
    return getattr(import_module(library), name)(**BASE[library], **more)


def _case(library: str, model: str, data: str, train: Any, **more: Any) -> Case:
    modules = (library, "sklearn", "skl2onnx", "onnx", "pandas")
    return Case(TITLES[library], model, data, train, "boosters", modules, **more)


def _raw_xgboost(data: Data, folder: Path) -> Trained:
    import xgboost  # lazy: an extra

    del folder
    settings = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1}
    booster = xgboost.train(settings, xgboost.DMatrix(data.rows, data.classes), num_boost_round=ROUNDS)
    return Trained(booster, lambda rows: booster.predict(xgboost.DMatrix(rows, nthread=1)))


def _file_of_xgboost(data: Data, folder: Path) -> Trained:
    made = _raw_xgboost(data, folder)
    made.model.save_model(str(folder / "model.ubj"))
    return Trained(folder / "model.ubj", made.ask)


def _raw_lightgbm(data: Data, folder: Path) -> Trained:
    import lightgbm  # lazy: an extra

    del folder
    settings = {"objective": "binary", "num_leaves": 15, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(settings, lightgbm.Dataset(data.rows, data.classes), num_boost_round=ROUNDS)
    return Trained(booster, lambda rows: booster.predict(rows, num_threads=1))


def _file_of_catboost(data: Data, folder: Path) -> Trained:
    model = _made("catboost", "CatBoostClassifier").fit(data.rows, data.classes)
    model.save_model(str(folder / "model.cbm"))
    return Trained(folder / "model.cbm", model.predict_proba)


def _xgboost_classes(data: Data, folder: Path) -> Trained:
    """Classes as whole numbers, which is all that it takes."""
    import numpy as np  # lazy: as the others

    del folder
    model = _made("xgboost", "XGBClassifier").fit(data.rows, np.unique(data.classes, return_inverse=True)[1])
    return Trained(model, model.predict_proba)


def _with_categories(make: Callable[[], Any], data: Data, folder: Path) -> Trained:
    """Columns of text as categories of the library's own."""
    from pandas import CategoricalDtype, DataFrame  # lazy: comes with the extra

    del folder
    kinds = {name: CategoricalDtype(sorted(data.rows[name].unique())) for name in ("city", "plan")}

    def typed(rows: DataFrame) -> DataFrame:
        return rows.astype(kinds)

    model = make().fit(typed(data.rows), data.classes)
    return Trained(model, lambda rows: model.predict_proba(typed(rows)), typed)


def cases() -> Iterator[Case]:
    """Every row of the three families."""
    for library, name, learn, sets, more in ESTIMATORS:
        shown = name if learn != "counts" else f"{name} of Poisson"
        for data in sets:
            yield _case(library, shown, data, estimator(partial(_made, library, name, **more), learn))
    yield _case("xgboost", "XGBClassifier", "classes", _xgboost_classes)
    yield _case("xgboost", "Booster", "numbers", _raw_xgboost)
    yield _case("xgboost", "Booster in a .ubj file", "numbers", _file_of_xgboost)
    yield _case("lightgbm", "Booster", "numbers", _raw_lightgbm)
    yield _case("catboost", "CatBoostClassifier in a .cbm file", "numbers", _file_of_catboost)
    named: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("xgboost", "XGBClassifier", {"enable_categorical": True}),
        ("lightgbm", "LGBMClassifier", {}),
        ("catboost", "CatBoostClassifier", {"cat_features": ["city", "plan"]}),
    )
    for library, name, more in named:
        train = partial(_with_categories, partial(_made, library, name, **more))
        yield _case(library, f"{name} with categories", "mixed", train)
