"""Labels and entities from a network's numbers, without any network."""

import json

import numpy as np
import pytest

from modelwright.native.text_answers import Token, as_json, entities, labelled


def found(*labels):
    tokens = [
        Token(f"w{place}", 3 * place, 3 * place + 2, label, np.float32(0.5)) for place, label in enumerate(labels)
    ]
    return [(one["entity_group"], one["word"]) for one in entities(tokens, " ".join)]


def test_tokens_of_one_kind_become_one_entity():
    assert found("O", "B-place", "I-place", "O", "I-place") == [("place", "w1 w2"), ("place", "w4")]


def test_a_label_that_begins_an_entity_ends_the_one_before():
    assert found("B-place", "B-place", "I-name", "I-place") == [
        ("place", "w0"),
        ("place", "w1"),
        ("name", "w2"),
        ("place", "w3"),
    ]


def test_labels_without_a_beginning_are_kinds_of_their_own():
    assert found("late", "late", "fair") == [("late", "w0 w1"), ("fair", "w2")]


def test_an_entity_has_its_place_in_the_text_and_the_mean_of_its_scores():
    tokens = [Token("a", 0, 2, "B-x", np.float32(0.25)), Token("b", 2, 5, "I-x", np.float32(0.75))]
    (one,) = json.loads(as_json(entities(tokens, "".join)))
    assert one == {"entity": "x", "score": 0.5, "word": "ab", "start": 0, "end": 5}


def test_no_tokens_have_no_entities():
    assert as_json(entities([], " ".join)) == "[]"


@pytest.mark.parametrize(("several", "total"), [(False, 1.0), (True, 2 * 0.7310586)])
def test_one_label_shares_its_probability_and_several_do_not(several, total):
    classes = np.array(["no", "yes"], dtype=object)
    said = labelled(np.array([[1.0, 1.0]], np.float32), classes, several=several)
    np.testing.assert_allclose(said["probabilities"].sum(), total, atol=1e-6)
    assert said["label"].tolist() == ["no"]
