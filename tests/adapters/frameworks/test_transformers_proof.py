"""What proves that a tokenizer beside a graph answers as the original: here between functions of texts."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from modelwright.adapters.frameworks.transformers_proof import beyond, compared, texts
from modelwright.core.errors import RefusedError

FEEDS = {"text": np.array([["late"], ["in time"], [""]], dtype=object)}


def lengths(off=0.0, only=""):
    def answer(feeds):
        held = [text for (text,) in feeds["text"].tolist()]
        scores = np.array([[len(text) + (off if only in text else 0)] for text in held])
        return {"label": np.array(["long" if row > 5 else "short" for (row,) in scores], dtype=object), "score": scores}

    return answer


def words(score, word="late"):
    def answer(feeds):
        found = json.dumps([{"entity": "x", "score": score, "word": word, "start": 0, "end": 4}])
        return {"entities": np.array([found] * len(feeds["text"]), dtype=object)}

    return answer


def test_equal_answers_are_certified_on_all_texts():
    found, parity = compared(lengths(), lengths(1e-6), FEEDS)
    assert parity.holds
    assert parity.rows == 3
    assert found["label"].tolist() == ["short", "long", "short"]


def test_one_text_that_is_answered_otherwise_refuses_the_graph_and_is_named():
    with pytest.raises(RefusedError) as refused:
        compared(lengths(), lengths(1.0, only="time"), FEEDS)
    assert refused.value.code == "pack.parity-failed"
    assert "in time" in refused.value.why


def test_a_graph_that_refuses_what_the_original_answers_is_refused():
    def none(feeds):
        raise ValueError("no such token")

    with pytest.raises(RefusedError) as refused:
        compared(lengths(), none, FEEDS)
    assert "no such token" in refused.value.why


def test_scores_of_words_may_round_to_another_digit_and_words_may_not_differ():
    _, parity = compared(words(0.5), words(0.5001), FEEDS)
    assert parity.holds
    for other in (words(0.51), words(0.5, "Late")):
        with pytest.raises(RefusedError):
            compared(words(0.5), other, FEEDS)


def test_hard_texts_are_empty_too_long_special_and_of_many_scripts():
    made = texts(SimpleNamespace(all_special_tokens=["[MASK]", "<end>"]), ["a good day"])
    joined = " ".join(made)
    assert "" in made
    assert max(map(len, made)) > 10_000
    assert all(word in joined for word in ("[MASK]", "<end>", "ü", "u\u0308", "\u200d", "東京", "A GOOD DAY"))


def test_a_hard_text_that_is_answered_otherwise_refuses_the_graph():
    with pytest.raises(RefusedError):
        beyond(lengths(), lengths(1.0, only="Zürich"), ["late", "rain over Zürich"])


def test_what_the_original_itself_refuses_says_nothing():
    def original(feeds):
        if any("bad" in text for (text,) in feeds["text"].tolist()):
            raise ValueError("not this one")
        return lengths()(feeds)

    made, kept = beyond(original, lengths(), ["late", "bad", "fair"])
    assert (made.rows, made.refused, made.holds) == (2, 1, True)
    assert kept == ["late", "fair"]
