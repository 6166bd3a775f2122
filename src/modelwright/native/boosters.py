"""Opens boosted trees from the libraries' own files, which hold no code: XGBoost's, LightGBM's, CatBoost's."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature
from modelwright.native.sklearn_model import answering

Library = Literal["xgboost", "lightgbm", "catboost"]
Feeds = Mapping[str, NDArray[Any]]
SUFFIXES: Mapping[Library, str] = {"xgboost": ".ubj", "lightgbm": ".txt", "catboost": ".cbm"}
_CLASSIFIERS = ("binary:", "multi:", "binary", "multiclass", "Logloss", "CrossEntropy", "MultiClass")
_SPELLING = re.compile(r"\s")
_NO_CLASSIFIERS = ("binary:logitraw", "MultiCrossEntropy")


class Booster:
    """A library's booster that answers as an estimator of scikit-learn does, and needs no scikit-learn for it.

    Args:
        library: whose it is.
        model: ``xgboost.Booster``, ``lightgbm.Booster`` or ``catboost.CatBoost``.
        classes: what its classes are called, in the order of its probabilities; 0, 1, ... where nothing is given.
        every: answer from all rounds, also where training noted a best one.
        names: its columns, where the library changed their names (LightGBM writes "dep time" as "dep_time").
    """

    only_checks_names = True

    def __init__(
        self,
        library: Library,
        model: Any,
        classes: tuple[Any, ...] = (),
        *,
        every: bool = False,
        names: tuple[str, ...] = (),
    ) -> None:
        self.library, self.model = library, model
        self.best = None if every else _best(library, model)
        self.objective = _objective(library, model)
        names = names or tuple(_names(library, model))
        if names:
            self.feature_names_in_ = np.array(names, dtype=object)
        self.n_features_in_ = _width(library, model)
        self.classifies = self.objective.startswith(_CLASSIFIERS) and not self.objective.startswith(_NO_CLASSIFIERS)
        if self.classifies:
            self.classes_ = np.array(classes or _classes(library, model))

    def renamed(self, columns: Collection[str]) -> Booster:
        """The booster of columns that are called as these are, where the library only changed their spelling."""
        own = [str(name) for name in getattr(self, "feature_names_in_", ())]
        spelt = {_SPELLING.sub("_", name): name for name in columns}
        if all(name in columns for name in own) or not all(name in columns or name in spelt for name in own):
            return self
        names = tuple(name if name in columns else spelt[name] for name in own)
        classes = tuple(self.classes_.tolist()) if self.classifies else ()
        return Booster(self.library, self.model, classes, every=self.best is None, names=names)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - what makes it a part, by name
        """None: what it was trained with is not needed to answer."""
        return {}

    def predict(self, rows: Any) -> NDArray[Any]:
        """Labels [n] of a classifier, else values [n]."""
        if not self.classifies:
            return self._answers(rows)
        chosen: NDArray[Any] = self.classes_[np.argmax(self.predict_proba(rows), axis=1)]
        return chosen

    def predict_proba(self, rows: Any) -> NDArray[Any]:
        """Probabilities [n, classes]."""
        given = self._answers(rows)
        return given if given.ndim == 2 else np.stack([1 - given, given], axis=1)

    def _answers(self, rows: Any) -> NDArray[Any]:
        held: NDArray[Any] = _ANSWERS[self.library](self, _ready(self.library, rows))
        return held

    def save(self, path: Path) -> None:
        """Write the library's own file."""
        if self.library == "catboost":
            self.model.save_model(str(path), format="cbm")
        elif self.library == "lightgbm":
            self.model.save_model(str(path), num_iteration=-1)
        else:
            self.model.save_model(str(path))


def open_booster(file: Path, signature: Signature) -> Callable[[Feeds], dict[str, Any]]:
    """Open the file and give what answers tensors as the signature names them.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    library = next((name for name, suffix in SUFFIXES.items() if file.suffix == suffix), None)
    if library is None:
        raise BadInputError(
            "native.unreadable-model",
            f"{file.name!r} is no booster's file.",
            fix=f"Pack the model again; known: {', '.join(SUFFIXES.values())}.",
        )
    spec = signature.output(signature.label_output)
    text = spec is None or spec.datatype == "BYTES"
    classes = tuple(name if text else int(name) for name in signature.classes)
    model = read_booster(library, file)
    carried = tuple(name for one in signature.inputs for name in one.features)
    return answering(Booster(library, model, classes, names=carried if _names(library, model) else ()), signature)


def read_booster(library: Library, file: Path) -> Any:
    """The library's own object.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    try:
        return _READERS[library](file)
    except ModuleNotFoundError as error:
        extra = "catboost" if library == "catboost" else "boosters"
        raise BadInputError(
            "native.unreadable-model",
            f"The model needs the module {error.name!r}, which is not installed here.",
            fix=f"Install it with: pip install 'modelwright[{extra}]'",
        ) from error
    except Exception as error:
        said = str(error).strip().split("\n", 1)[0][:300]
        raise BadInputError(
            "native.unreadable-model",
            f"{file.name!r} cannot be opened as a model of {library}.",
            why=f"{type(error).__name__}: {said}.",
            fix="Save the model again with the library's own save_model.",
        ) from error


def _read_xgboost(file: Path) -> Any:
    import xgboost  # lazy: only its models need it

    model = xgboost.Booster()
    model.load_model(str(file))
    model.set_param({"nthread": 1})
    return model


def _read_lightgbm(file: Path) -> Any:
    import lightgbm  # lazy: only its models need it

    return lightgbm.Booster(model_file=str(file), params={"num_threads": 1, "verbosity": -1})


def _read_catboost(file: Path) -> Any:
    import catboost  # lazy: only its models need it

    # From memory: its own way of looking for a file finds none in a jail.
    return catboost.CatBoost().load_model(blob=file.read_bytes())


_READERS: Mapping[Library, Callable[[Path], Any]] = {
    "xgboost": _read_xgboost,
    "lightgbm": _read_lightgbm,
    "catboost": _read_catboost,
}


def _ready(library: Library, rows: Any) -> Any:
    """Text columns of a data frame as the library takes categories."""
    if not hasattr(rows, "columns"):
        return np.asarray(rows)
    text = [name for name in rows.columns if rows[name].dtype == object]
    if not text:
        return rows
    if library == "catboost":
        return rows.assign(**{name: rows[name].fillna("").astype(str) for name in text})
    return rows.assign(**{name: rows[name].astype("category") for name in text})


def _ask_xgboost(held: Booster, rows: Any) -> NDArray[Any]:
    import xgboost  # lazy: only its models need it

    until = 0 if held.best is None else held.best + 1
    given = xgboost.DMatrix(rows, enable_categorical=True, feature_names=held.model.feature_names, nthread=1)
    if held.objective != "multi:softmax":
        return np.asarray(held.model.predict(given, iteration_range=(0, until), validate_features=False))
    sums = np.asarray(held.model.predict(given, iteration_range=(0, until), output_margin=True), dtype=np.float64)
    raised = np.exp(sums - sums.max(axis=1, keepdims=True))  # its own answer is the label alone
    shares: NDArray[Any] = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _ask_lightgbm(held: Booster, rows: Any) -> NDArray[Any]:
    return np.asarray(held.model.predict(rows, num_iteration=-1 if held.best is None else held.best, num_threads=1))


def _ask_catboost(held: Booster, rows: Any) -> NDArray[Any]:
    kind = "Probability" if held.classifies else None
    if kind is None:
        kind = "Exponent" if held.objective.startswith(("Poisson", "Tweedie")) else "RawFormulaVal"
    if "prediction_type" not in inspect.signature(held.model.predict).parameters:
        return np.asarray(held.model.predict(rows, thread_count=1))  # a ranker gives its sums, and takes no such word
    return np.asarray(held.model.predict(rows, prediction_type=kind, thread_count=1))


_ANSWERS: Mapping[Library, Callable[[Booster, Any], NDArray[Any]]] = {
    "xgboost": _ask_xgboost,
    "lightgbm": _ask_lightgbm,
    "catboost": _ask_catboost,
}


def _best(library: Library, model: Any) -> int | None:
    """XGBoost: number of the best round; LightGBM: how many rounds; CatBoost keeps no others."""
    if library == "xgboost":
        noted = model.attr("best_iteration")
        return None if noted is None else int(noted)
    return int(model.best_iteration) if library == "lightgbm" and model.best_iteration > 0 else None


def _objective(library: Library, model: Any) -> str:
    if library == "xgboost":
        return str(json.loads(model.save_config())["learner"]["objective"]["name"])
    if library == "lightgbm":
        head = model.model_to_string(num_iteration=1).split("\n\n", 1)[0]
        return next((line[10:].split(" ")[0] for line in head.split("\n") if line.startswith("objective=")), "")
    return str(model.get_all_params().get("loss_function", ""))


def _names(library: Library, model: Any) -> list[str]:
    """The columns that it was trained on by name; none where the names are the library's own numbering."""
    found = {"xgboost": "feature_names", "lightgbm": "feature_name", "catboost": "feature_names_"}[library]
    held = getattr(model, found)
    names = [str(name) for name in (held() if callable(held) else held) or ()]
    pattern = {"xgboost": "f{}", "lightgbm": "Column_{}", "catboost": "{}"}[library]
    return [] if names == [pattern.format(index) for index in range(len(names))] else names


def _width(library: Library, model: Any) -> int:
    if library == "xgboost":
        return int(model.num_features())
    return int(model.num_feature()) if library == "lightgbm" else len(model.feature_names_)


def _classes(library: Library, model: Any) -> list[Any]:
    if library == "catboost":
        return list(model.classes_)
    if library == "xgboost":
        count = int(json.loads(model.save_config())["learner"]["learner_model_param"]["num_class"])
    else:
        count = int(model.num_model_per_iteration())
    return list(range(max(count, 2)))
