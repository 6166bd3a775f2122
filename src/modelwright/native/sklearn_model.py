"""Opens ``model.joblib``: a fitted estimator with scikit-learn's ``predict`` and ``predict_proba``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.signature import Signature
from modelwright.native.asking import ask
from modelwright.native.estimators import parts, unwrap
from modelwright.native.pickled import unpickled
from modelwright.native.rows import row_maker

Feeds = Mapping[str, NDArray[Any]]
# Their own `predict` is the class of the largest probability, word for word; asking both would be asking twice.
_ARGMAX = frozenset(
    {
        "BaggingClassifier",
        "CalibratedClassifierCV",
        "DecisionTreeClassifier",
        "ExtraTreeClassifier",
        "ExtraTreesClassifier",
        "RandomForestClassifier",
    }
)


def open_sklearn(file: Path, signature: Signature) -> Callable[[Feeds], dict[str, Any]]:
    """Unpickle the model and give what answers tensors as the signature names them.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    return answering(unpickled(file), signature)


def answering(model: Any, signature: Signature) -> Callable[[Feeds], dict[str, Any]]:
    """What answers input tensors with the outputs that the signature names; ``model`` is changed and kept.

    The label or value is ``predict``, the scores are ``predict_proba``; others: :mod:`modelwright.native.asking`.
    Its parts are told to use one job: a jailed
    process may start no other, and the runner decides how many threads there are.
    """
    held = unwrap(model)
    for part in parts(held):
        if isinstance(vars(part).get("n_jobs"), int):
            part.n_jobs = 1
    rows = row_maker(held, signature)
    label, scores = signature.label_output or signature.outputs[0].name, signature.score_output
    spec = signature.output(label)
    shape = (-1, *spec.shape[1:]) if spec is not None else (-1,)
    text = spec is not None and spec.datatype == "BYTES"
    head, last = _split(held)

    def labelled(predicted: Any) -> NDArray[Any]:
        array = np.asarray(predicted)
        if text and array.dtype.kind != "U":
            array = np.array([str(item) for item in array.reshape(-1).tolist()], dtype=object)
        return array.reshape(shape)

    if not _plain(signature):
        return _by_names(held, signature, rows)
    if not scores:
        return lambda feeds: {label: labelled(held.predict(rows(feeds)))}
    if type(last).__name__ in _ARGMAX and type(last).__module__.startswith("sklearn."):
        classes = np.asarray(last.classes_)

        def chosen(feeds: Feeds) -> dict[str, Any]:
            probabilities = last.predict_proba(head(rows(feeds)))
            return {label: labelled(classes.take(probabilities.argmax(axis=1))), scores: probabilities}

        return chosen

    def both(feeds: Feeds) -> dict[str, Any]:
        ready = head(rows(feeds))
        return {label: labelled(last.predict(ready)), scores: last.predict_proba(ready)}

    return both


def _plain(signature: Signature) -> bool:
    """True for what one label, with or without its probabilities, or ``predict`` alone answers."""
    names = {spec.name for spec in signature.outputs}
    return names <= {signature.label_output, signature.score_output} or names <= {"prediction"}


def _by_names(model: Any, signature: Signature, rows: Callable[[Feeds], Any]) -> Callable[[Feeds], dict[str, Any]]:
    """Each output as its name says: several targets, outliers with a score, clusters with distances, features."""
    specs = {spec.name: spec for spec in signature.outputs}

    def held(name: str, answer: Any) -> NDArray[Any]:
        array = np.asarray(answer)
        if specs[name].datatype == "BYTES":
            words = [str(item) for item in array.reshape(-1).tolist()]
            array = np.array(words, dtype=object).reshape(array.shape)
        return array.reshape(-1, *specs[name].shape[1:])

    return lambda feeds: {name: held(name, answer) for name, answer in ask(model, tuple(specs), rows(feeds)).items()}


def _split(model: Any) -> tuple[Callable[[Any], Any], Any]:
    """What prepares the rows once for both questions, and who is asked: the last step of a plain pipeline."""
    kind = type(model)
    if kind.__name__ == "Pipeline" and kind.__module__ == "sklearn.pipeline" and len(model.steps) > 1:
        return model[:-1].transform, model.steps[-1][1]
    return lambda rows: rows, model
