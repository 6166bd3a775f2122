"""Why a scikit-learn model is refused, in words: the part, the reason, and the nearest way that works."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modelwright.adapters.frameworks.sklearn_converters import ELEMENTWISE
from modelwright.adapters.frameworks.sklearn_parts import type_name
from modelwright.core.errors import BadInputError, ModelwrightError, RefusedError
from modelwright.native.estimators import parts

_FUNCTIONS = ", ".join(f"np.{function.__name__}" for function in ELEMENTWISE)
_ENCODE_FIRST = (
    "Encode the categories before it: make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown='ignore', "
    "sparse_output=False), columns), remainder='passthrough'), {name}(categorical_features=None)), and fit again."
)
_ESTIMATOR = "Pack the fitted estimator inside (model.estimator_), and apply the threshold to its probability."
_ONE_HOT = (
    "Replace OrdinalEncoder(handle_unknown=...) by OneHotEncoder(handle_unknown='ignore'), fit again, and pack again: "
    "its codes of unknown and missing values do not survive conversion."
)
_INSTEAD: Mapping[str, str] = {
    "OrdinalEncoder": _ONE_HOT,
    "FunctionTransformer": (
        f"Use one of the functions that convert ({_FUNCTIONS}), or compute the column before the model sees it."
    ),
    "GaussianProcessClassifier": "Use SVC(probability=True) or LogisticRegression, which convert, and fit again.",
    "NearestCentroid": "Use LinearDiscriminantAnalysis or GaussianNB, which convert, and fit again.",
    "IsotonicRegression": (
        "Use HistGradientBoostingRegressor(monotonic_cst=[1]); to calibrate a classifier, "
        "CalibratedClassifierCV(method='isotonic') converts."
    ),
    "SplineTransformer": "Use PolynomialFeatures or KBinsDiscretizer, which convert, and fit again.",
    "OneHotEncoder": "Make its columns text or whole numbers (astype('int64')): of fractions it has no conversion.",
    "MissingIndicator": "Use SimpleImputer(add_indicator=True), which converts, and fit again.",
    "IterativeImputer": "Use KNNImputer or SimpleImputer, which convert, and fit again.",
    "DummyClassifier": "Use LogisticRegression(C=1e-9) as the baseline, which converts.",
    "DummyRegressor": "Use Ridge(alpha=1e12) as the baseline, which converts.",
    "TransformedTargetRegressor": (
        f"Give it a transformer that converts back: StandardScaler, MinMaxScaler, or inverse_func= one of {_FUNCTIONS}."
    ),
    "FixedThresholdClassifier": _ESTIMATOR,
    "TunedThresholdClassifierCV": _ESTIMATOR,
}


def unconvertible(model: Any, failure: Exception | None, text: tuple[str, ...]) -> ModelwrightError:
    """The error for a model that no input typing converts; ``text`` are the columns that hold text."""
    if isinstance(failure, ModelwrightError):
        return failure
    said = f"The converter says: {first_line(failure)}." if failure else "No typing of the inputs was possible."
    culprit = _culprit(model, str(failure))
    held = {type(part).__name__: part for part in parts(model)}
    name = culprit.rpartition(".")[2] or next((known for known in held if known in _INSTEAD), "")
    fix = _INSTEAD.get(
        name, "Replace that part by one that scikit-learn brings, or export the model to .onnx yourself."
    )
    # Meant is: the converter gives the columns apart, and this estimator takes one matrix.
    if "at most 1 input" in str(failure) or "is_categorical_" in str(failure):
        said, fix = _by_column(name or type(model).__name__, held, text)
    if "Option 'zipmap'" in str(failure):
        said = f"The converter does not take a pipeline that ends in {name} inside another estimator."
        fix = "Put the steps before it in front of the whole, make_pipeline(scaler, outer(inner)), and fit again."
    return RefusedError(
        "pack.unconvertible",
        f"{culprit or type_name(model)} has no conversion to ONNX.",
        why=said,
        fix=fix,
        details={"part": culprit},
    )


def categorical_trees(model: Any) -> Any | None:
    """The gradient boosting inside that splits on categories itself: the converter would take codes for numbers."""
    for part in parts(model):
        flags = getattr(part, "is_categorical_", None)
        if flags is not None and any(flags):
            return part
    return None


def refuse_known(model: Any) -> None:
    """Refuse what the converter would convert into something else.

    Raises:
        RefusedError: ``pack.unconvertible``.
    """
    boosted = categorical_trees(model)
    if boosted is not None:
        name = type(boosted).__name__
        raise RefusedError(
            "pack.unconvertible",
            f"{type_name(boosted)} with categorical features has no conversion to ONNX.",
            why="It splits on sets of categories, which the converter does not know.",
            fix=_ENCODE_FIRST.format(name=name),
            details={"part": type_name(boosted)},
        )
    if type(model).__name__ in {"TunedThresholdClassifierCV", "FixedThresholdClassifier"}:
        raise RefusedError(
            "pack.unconvertible",
            f"{type_name(model)} has no conversion to ONNX.",
            why="The converter leaves the threshold out, so labels near it would differ.",
            fix=_ESTIMATOR,
            details={"part": type_name(model)},
        )


def _by_column(name: str, held: Mapping[str, Any], text: tuple[str, ...]) -> tuple[str, str]:
    if "ColumnTransformer" in held:
        return (
            f"{name} holds a ColumnTransformer, and the converter takes columns by name only in front of everything.",
            f"Put it first: make_pipeline(column_transformer, {name}(...)), and fit again.",
        )
    return (
        f"{name} takes numbers, and {', '.join(map(repr, text[:3]))} hold text.",
        (
            "Give the examples as numbers, or encode the text in a pipeline: make_pipeline(make_column_transformer("
            f"(OneHotEncoder(handle_unknown='ignore'), columns), remainder='passthrough'), {name}(...))."
        ),
    )


def parity_advice(model: Any) -> str:
    """What to do about a conversion that answers differently."""
    held = {type(part).__name__: part for part in parts(model)}
    if "OrdinalEncoder" in held:
        return _ONE_HOT
    if any(name.startswith("KNeighbors") and part.weights == "distance" for name, part in held.items()):
        return (
            "Use weights='uniform' and fit again, or give examples that were not trained on: at distance 0 the "
            "converted model weighs neighbours otherwise."
        )
    return (
        "Look at the worst row: a value outside the training range or a missing value is the usual cause. "
        "Train on 32-bit numbers, X.astype('float32'), or replace the step that treats such values, and pack again."
    )


def beyond_advice(model: Any) -> str:
    """What to do about a conversion that differs on missing values, unseen levels or bounds."""
    if any(type(part).__name__ == "OrdinalEncoder" for part in parts(model)):
        return _ONE_HOT
    return (
        "Leave --onnx out, and the model is packed as it is; or replace the step that treats such values "
        "(encoders, imputers), fit and pack again."
    )


def rounding(columns: tuple[str, ...], difference: float, flips: int) -> tuple[str, str]:
    """Why and what to do when the original itself answers differently to its own examples rounded to 32 bits."""
    shown = ", ".join(map(repr, columns[:3])) + (f" and {len(columns) - 3} more" if len(columns) > 3 else "")
    return (
        (
            f"The original itself answers differently (by {difference:.3g}, {flips} labels) to inputs rounded to 32 "
            f"bits: it was trained on finer numbers ({shown}) and tells values apart that are one 32-bit number."
        ),
        (
            "Train on 32-bit numbers: model.fit(X.astype('float32'), y), and pack again. In a data frame with text, "
            "convert the number columns alone."
        ),
    )


def _culprit(model: Any, message: str) -> str:
    named = re.search(r"<class '([\w.<>]+)'>", message)
    if named and any(type_name(part) == named.group(1) for part in parts(model)):
        return named.group(1)
    foreign = [part for part in parts(model) if not type(part).__module__.startswith("sklearn.")]
    if foreign:
        return type_name(foreign[0])
    ordinal = [part for part in parts(model) if type(part).__name__ == "OrdinalEncoder"]
    if ordinal and "LabelEncoder" in message:  # the ONNX operator that it becomes
        return type_name(ordinal[0])
    if "is not an int64" in message:
        return next((type_name(part) for part in parts(model) if type(part).__name__ == "OneHotEncoder"), "")
    mentioned = [part for part in parts(model) if type(part).__name__ in message]
    return type_name(mentioned[-1]) if mentioned else ""


def examples_rejected(error: Exception) -> BadInputError:
    """The error for examples that the model itself refuses."""
    return BadInputError(
        "pack.examples-rejected",
        "The model itself does not accept the examples.",
        why=f"{type(error).__name__}: {first_line(error)}.",
        fix="Give examples as the model was trained on them: same columns, kinds and missing values.",
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's words, without the full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
