"""scikit-learn's rows: families of estimators on every kind of data they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modelwright.demo.matrix.case import Case, Trained, estimator
from modelwright.demo.matrix.data import Data

FAMILY, MODULES = "scikit-learn", ("sklearn", "skl2onnx", "onnx", "pandas")
TEXT = ["city", "plan"]


def linear(name: str, **given: Any) -> Callable[[], Any]:
    """A maker of ``sklearn.linear_model.<name>``."""
    return lambda: _made("linear_model", name, **given)


def _made(module: str, name: str, **given: Any) -> Any:
    """``sklearn.<module>.<name>(**given)``; lazy: an extra."""
    from importlib import import_module

    return getattr(import_module(f"sklearn.{module}"), name)(**given)


def _maker(module: str, name: str, **given: Any) -> Callable[[], Any]:
    return lambda: _made(module, name, **given)


FOREST = {"n_estimators": 50, "random_state": 0}


def _ensemble(kind: str, suffix: str) -> Callable[[], Any]:
    """A maker of an ensemble of a linear model and a tree."""
    line = "LogisticRegression" if suffix == "Classifier" else "Ridge"

    def make() -> Any:
        parts = [("line", _made("linear_model", line)), ("tree", _made("tree", f"DecisionTree{suffix}", max_depth=5))]
        return _made("ensemble", f"{kind}{suffix}", estimators=parts)

    return make


CLASSIFIERS: Mapping[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "LogisticRegression": (linear("LogisticRegression", max_iter=500), ("numbers", "wide", "classes")),
    "SGDClassifier": (linear("SGDClassifier", random_state=0), ("numbers",)),
    "LinearSVC": (_maker("svm", "LinearSVC"), ("numbers",)),
    "SVC": (_maker("svm", "SVC"), ("numbers", "classes")),
    "KNeighborsClassifier": (_maker("neighbors", "KNeighborsClassifier"), ("numbers", "classes")),
    "NearestCentroid": (_maker("neighbors", "NearestCentroid"), ("numbers",)),
    "GaussianNB": (_maker("naive_bayes", "GaussianNB"), ("numbers",)),
    "LinearDiscriminantAnalysis": (_maker("discriminant_analysis", "LinearDiscriminantAnalysis"), ("classes",)),
    "QuadraticDiscriminantAnalysis": (_maker("discriminant_analysis", "QuadraticDiscriminantAnalysis"), ("numbers",)),
    "DecisionTreeClassifier": (_maker("tree", "DecisionTreeClassifier", max_depth=5), ("numbers",)),
    "RandomForestClassifier": (_maker("ensemble", "RandomForestClassifier", **FOREST), ("numbers", "wide", "classes")),
    "ExtraTreesClassifier": (_maker("ensemble", "ExtraTreesClassifier", **FOREST), ("numbers",)),
    "GradientBoostingClassifier": (_maker("ensemble", "GradientBoostingClassifier", n_estimators=50), ("numbers",)),
    "HistGradientBoostingClassifier": (
        _maker("ensemble", "HistGradientBoostingClassifier", max_iter=30),
        ("numbers", "gaps", "wide", "classes"),
    ),
    "AdaBoostClassifier": (_maker("ensemble", "AdaBoostClassifier", n_estimators=20), ("numbers",)),
    "BaggingClassifier": (_maker("ensemble", "BaggingClassifier", n_estimators=5), ("numbers",)),
    "VotingClassifier": (_ensemble("Voting", "Classifier"), ("numbers",)),
    "StackingClassifier": (_ensemble("Stacking", "Classifier"), ("numbers",)),
    "CalibratedClassifierCV": (_maker("calibration", "CalibratedClassifierCV"), ("numbers",)),
    "MLPClassifier": (_maker("neural_network", "MLPClassifier", max_iter=50, random_state=0), ("numbers", "wide")),
    "GaussianProcessClassifier": (_maker("gaussian_process", "GaussianProcessClassifier"), ("numbers",)),
}
REGRESSORS: Mapping[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "LinearRegression": (linear("LinearRegression"), ("numbers", "wide")),
    "Ridge": (linear("Ridge"), ("numbers",)),
    "Lasso": (linear("Lasso"), ("wide",)),
    "BayesianRidge": (linear("BayesianRidge"), ("numbers",)),
    "SVR": (_maker("svm", "SVR"), ("numbers",)),
    "KNeighborsRegressor": (_maker("neighbors", "KNeighborsRegressor"), ("numbers",)),
    "DecisionTreeRegressor": (_maker("tree", "DecisionTreeRegressor", max_depth=5), ("numbers",)),
    "RandomForestRegressor": (_maker("ensemble", "RandomForestRegressor", **FOREST), ("numbers", "wide")),
    "HistGradientBoostingRegressor": (
        _maker("ensemble", "HistGradientBoostingRegressor", max_iter=30),
        ("numbers", "gaps"),
    ),
    "VotingRegressor": (_ensemble("Voting", "Regressor"), ("numbers",)),
    "MLPRegressor": (_maker("neural_network", "MLPRegressor", max_iter=50, random_state=0), ("numbers",)),
    "GaussianProcessRegressor": (_maker("gaussian_process", "GaussianProcessRegressor", alpha=0.1), ("numbers",)),
}
COUNTERS: Mapping[str, Callable[[], Any]] = {
    "PoissonRegressor": linear("PoissonRegressor"),
    "HistGradientBoostingRegressor of Poisson": _maker(
        "ensemble", "HistGradientBoostingRegressor", loss="poisson", max_iter=30
    ),
}
UNSUPERVISED: Mapping[str, Callable[[], Any]] = {
    "IsolationForest": _maker("ensemble", "IsolationForest", n_estimators=20, random_state=0),
    "KMeans": _maker("cluster", "KMeans", n_clusters=3, random_state=0),
}


def _imputed(last: Callable[[], Any]) -> Callable[[], Any]:
    def make() -> Any:
        from sklearn.pipeline import make_pipeline  # lazy: an extra

        return make_pipeline(_made("impute", "SimpleImputer"), _made("preprocessing", "StandardScaler"), last())

    return make


def _columns(last: Callable[[], Any]) -> Callable[[], Any]:
    def make() -> Any:
        from sklearn.compose import make_column_transformer  # lazy: an extra
        from sklearn.pipeline import make_pipeline

        one_hot = _made("preprocessing", "OneHotEncoder", handle_unknown="ignore", sparse_output=False)
        scaler = _made("preprocessing", "StandardScaler")
        return make_pipeline(make_column_transformer((scaler, ["age", "visits"]), (one_hot, TEXT)), last())

    return make


def _with_gaps(last: Callable[[], Any]) -> Iterator[Case]:
    yield _case("pipeline of imputer, scaler, LogisticRegression", "gaps", estimator(_imputed(last), "classes"))


def _as_file(data: Data, folder: Path) -> Trained:
    """A pipeline that was saved with joblib, as most models are handed over."""
    import joblib  # lazy: an extra

    made = estimator(_columns(CLASSIFIERS["RandomForestClassifier"][0]), "classes")(data, folder)
    joblib.dump(made.model, folder / "model.joblib")
    return Trained(folder / "model.joblib", made.ask)


def _several(data: Data, folder: Path) -> Trained:
    """A forest of two targets."""
    import numpy as np  # lazy: as the others

    del folder
    model = _made("ensemble", "RandomForestRegressor", **FOREST)
    model.fit(data.rows, np.stack([data.values, data.counts], axis=1))
    return Trained(model, model.predict)


def _unfitted(data: Data, folder: Path) -> Trained:
    del data, folder
    model = linear("LogisticRegression")()
    return Trained(model, model.predict)


def _case(model: str, data: str, train: Any, **more: Any) -> Case:
    return Case(FAMILY, model, data, train, "sklearn", MODULES, **more)


def cases() -> Iterator[Case]:
    """Every row of the family."""
    for learn, makers in (("classes", CLASSIFIERS), ("values", REGRESSORS)):
        for name, (make, sets) in makers.items():
            for data in sets:
                yield _case(name, data, estimator(make, learn))
    for name, maker in COUNTERS.items():
        yield _case(name, "counts", estimator(maker, "counts"))
    for name, maker in UNSUPERVISED.items():
        yield _case(name, "numbers", estimator(maker))
    for name in ("LogisticRegression", "RandomForestClassifier", "HistGradientBoostingClassifier"):
        maker = _columns(CLASSIFIERS[name][0])
        yield _case(f"pipeline of columns, {name}", "mixed", estimator(maker, "classes"))
    yield from _with_gaps(CLASSIFIERS["LogisticRegression"][0])
    yield _case("pipeline in a .joblib file", "mixed", _as_file)
    yield _case(
        "LogisticRegression, kept as code", "numbers", estimator(linear("LogisticRegression"), "classes"), native=True
    )
    yield _case("RandomForestRegressor of two targets", "numbers", _several)
    yield _case(
        "LogisticRegression, not fitted",
        "numbers",
        _unfitted,
        refused="pack.not-fitted",
        because="It has learnt nothing.",
    )
    yield _case(
        "DBSCAN",
        "numbers",
        estimator(_maker("cluster", "DBSCAN")),
        refused="pack.unsupported-model",
        because="It has no answer to rows that it was not trained on.",
    )
