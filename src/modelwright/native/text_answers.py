"""What a network's numbers for texts mean: labels and their probabilities, words with their places."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[Any]]
Task = Literal["text-classification", "token-classification", "embeddings", "image-classification"]
TASKS: tuple[Task, ...] = ("text-classification", "token-classification", "embeddings", "image-classification")
TEXT, IMAGE = "text", "image"
LABEL, SCORES, ENTITIES, EMBEDDING = "label", "probabilities", "entities", "embedding"
AT_ONCE = 32
"""Texts of one run of a network: padded to the longest among them."""
_OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text, not one that stands for its beginning or end: the word it is shown as, and its place."""

    word: str
    start: int
    end: int
    label: str
    score: np.float32


def texts_of(feeds: Feeds) -> list[str]:
    """The texts of a request."""
    return [str(text) for text in feeds[TEXT].reshape(-1).tolist()]


def labelled(logits: NDArray[Any], classes: NDArray[Any], *, several: bool) -> dict[str, Any]:
    """Labels [n] and probabilities [n, classes] from logits [n, classes].

    Sigmoid where ``several`` labels hold at once or there is one class only, softmax otherwise.
    """
    wide = logits.astype(np.float64)
    if several or len(classes) == 1:
        scores = 1 / (1 + np.exp(-wide))
    else:
        scores = np.exp(wide - wide.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    return {LABEL: classes[logits.argmax(axis=1)], SCORES: scores.astype(np.float32)}


def entities(tokens: Sequence[Token], joined: Callable[[list[str]], str]) -> list[dict[str, Any]]:
    """Neighbouring tokens of one kind as one entity, as transformers' pipeline does (aggregation ``simple``).

    A label ``B-x`` begins an entity, ``I-x`` goes on with one of the kind x, and one without either is a kind of its
    own that goes on. The score is the mean of the tokens'. ``joined`` makes a text of the words of tokens.
    """
    groups: list[list[Token]] = []
    for token in tokens:
        begins, kind = _kind(token.label)
        if groups and not begins and kind == _kind(groups[-1][-1].label)[1]:
            groups[-1].append(token)
        else:
            groups.append([token])
    named = [(group[0].label.split("-", 1)[-1], group) for group in groups]
    return [
        {
            "entity_group": name,
            "score": np.mean([token.score for token in group]),
            "word": joined([token.word for token in group]),
            "start": group[0].start,
            "end": group[-1].end,
        }
        for name, group in named
        if name != _OUTSIDE
    ]


def _kind(label: str) -> tuple[bool, str]:
    """Whether a label begins an entity, and of what kind."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def as_json(found: Sequence[Mapping[str, Any]]) -> str:
    """The entities of one text as they are answered: scores with four digits."""
    plain = [
        {
            "entity": str(one["entity_group"]),
            "score": round(float(one["score"]), 4),
            "word": str(one["word"]),
            "start": int(one["start"]),
            "end": int(one["end"]),
        }
        for one in found
    ]
    return json.dumps(plain, ensure_ascii=False)
