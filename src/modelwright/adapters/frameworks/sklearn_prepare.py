"""A copy of a model that says the same to the converter in words it knows. Parity proves that it is the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from modelwright.native.estimators import parts


def prepared(model: Any, null_as: str, *, matrix: bool = False) -> Any:
    """A copy for the converter.

    String imputers look for ``null_as`` (ONNX strings have no NaN), and what the converter does not know is written
    in parts that it knows. In a ``matrix`` columns have places instead of names.
    """
    ready = _written(copy.deepcopy(model))
    for part in list(parts(ready)):
        for key, value in list(vars(part).items()):
            if key in {"steps", "transformers_", "transformer_list"}:
                value[:] = [(name, _written(step), *rest) for name, step, *rest in value]
            elif isinstance(value, list):
                value[:] = [_written(item) for item in value]
            elif hasattr(value, "get_params"):
                setattr(part, key, _written(value))
    for part in parts(ready):
        _adjust(part, null_as)
        if matrix and hasattr(part, "transformers_"):
            _by_place(part)
    return ready


def _written(step: Any) -> Any:
    """The step, or what says the same; an estimator's parameters hold unfitted ones, which nothing converts."""
    sign, rewrite = _REWRITES.get(type(step).__name__, ("", None))
    return rewrite(step) if rewrite is not None and hasattr(step, sign) else step


def _adjust(part: Any, null_as: str) -> None:
    """Settings the converter needs otherwise, on the copy."""
    name = type(part).__name__
    if name == "SimpleImputer" and hasattr(part, "statistics_"):
        values = np.asarray(part.statistics_, dtype=object).tolist()
        if any(isinstance(value, str) for value in values):
            part.missing_values = null_as
        elif values:
            part.statistics_ = np.asarray(values, dtype=np.float64)
    elif name == "VotingClassifier":
        part.flatten_transform = False  # only its transform() differs
    elif name == "KBinsDiscretizer" and part.encode == "onehot":
        part.encode = "onehot-dense"
    elif name == "Pipeline":
        # A step that passes everything on is none; one has to stay.
        part.steps[:] = [step for step in part.steps if step[1] not in ("passthrough", None)]
    if hasattr(part, "tree_"):
        # A split between missing and all others has an endless threshold, at which the converter never ends.
        thresholds = part.tree_.threshold
        thresholds[thresholds == np.inf] = float(np.finfo(np.float32).max)


def _by_place(transformer: Any) -> None:
    places = {name: index for index, name in enumerate(getattr(transformer, "feature_names_in_", ()))}
    transformer.transformers_[:] = [
        (name, step, [places.get(column, column) for column in columns] if isinstance(columns, list) else columns)
        for name, step, columns in transformer.transformers_
    ]


def _discriminant(model: Any) -> Any:
    """Linear discriminant analysis answers as a logistic regression of its coefficients does."""
    from sklearn.linear_model import LogisticRegression  # lazy: only packing needs scikit-learn

    same = LogisticRegression()
    for key in ("coef_", "intercept_", "classes_", "n_features_in_", "feature_names_in_"):
        if hasattr(model, key):
            setattr(same, key, getattr(model, key))
    return same


def _indicated(step: Any) -> Any:
    """An imputer that adds columns of 0 and 1 where values were missing, as a union of two steps."""
    if not step.add_indicator or np.asarray(step.statistics_).dtype.kind not in "fiu":
        return step
    from sklearn.feature_selection import VarianceThreshold  # lazy: as above
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import FeatureUnion, Pipeline
    from sklearn.preprocessing import Binarizer

    imputer = copy.deepcopy(step)
    imputer.add_indicator = False
    width = len(step.statistics_)
    shown = np.isin(np.arange(width), step.indicator_.features_)
    if not shown.any():
        return imputer
    endless = 2.0**120
    columns = VarianceThreshold(0.5)
    columns.variances_, columns.n_features_in_ = shown.astype(float), width
    fill = SimpleImputer(strategy="constant", fill_value=endless, missing_values=step.missing_values)
    fill.fit(np.zeros((1, int(shown.sum()))))
    flag = Binarizer(threshold=endless / 2).fit(np.zeros((1, int(shown.sum()))))
    marks = Pipeline([("columns", columns), ("fill", fill), ("flag", flag)])
    return FeatureUnion([("values", imputer), ("missing", marks)])


def _ungrouped(step: Any) -> Any:
    """A OneHotEncoder that groups rare categories as a plain one followed by the sums of its columns."""
    if getattr(step, "drop", None) is not None:
        return step
    groups = getattr(step, "infrequent_categories_", None)
    if groups is None or all(group is None for group in groups) or step.handle_unknown not in {"ignore", "error"}:
        return step
    from sklearn.decomposition import TruncatedSVD  # lazy: only packing needs scikit-learn
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    first = np.array([[levels[0] for levels in step.categories_]], dtype=step.categories_[0].dtype)
    plain = OneHotEncoder(categories=list(step.categories_), handle_unknown="ignore", sparse_output=False).fit(first)
    sums = TruncatedSVD(n_components=1)  # the converter's plainest matrix product: X @ components_.T
    sums.components_ = _grouping(step.categories_, groups)
    return Pipeline([("encode", plain), ("group", sums)])


def _grouping(categories: list[Any], groups: list[Any]) -> Any:
    """The [grouped, plain] matrix of 0 and 1: a row per frequent category, then one for the rare ones, by feature."""
    blocks = []
    for levels, rare in zip(categories, groups, strict=True):
        identity = np.eye(len(levels))
        if rare is None:
            blocks.append(identity)
            continue
        words = {str(level) for level in rare}
        is_rare = np.array([str(level) in words for level in levels])
        blocks.append(np.vstack([identity[~is_rare], is_rare.astype(float)]))
    height, width = (sum(block.shape[axis] for block in blocks) for axis in (0, 1))
    matrix, row, column = np.zeros((height, width)), 0, 0
    for block in blocks:
        matrix[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return matrix


# By class: the attribute that shows that it is fitted, and how it is written.
_REWRITES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "LinearDiscriminantAnalysis": ("coef_", _discriminant),
    "OneHotEncoder": ("categories_", _ungrouped),
    "SimpleImputer": ("statistics_", _indicated),
}
