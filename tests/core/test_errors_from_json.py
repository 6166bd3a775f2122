import json

import pytest

from modelwright.core.errors import InternalError, ModelwrightError, RefusedError, from_json


@pytest.mark.parametrize("kind", ModelwrightError.__subclasses__())
def test_an_error_comes_back_from_its_json_with_kind_code_and_words(kind):
    error = kind("stage.what-happened", "It happened.", why="A reason.", fix="A way out.", details={"figure": 0.5})
    again = from_json(json.loads(json.dumps(error.to_json())))
    assert type(again) is kind
    assert again.to_json() == error.to_json()
    assert str(again) == str(error)


def test_an_error_of_few_words_comes_back():
    assert from_json(RefusedError("a.b", "No.").to_json()).to_json() == {
        "code": "a.b",
        "kind": "refused",
        "what": "No.",
    }


def test_an_unknown_kind_is_internal():
    assert type(from_json({"code": "a.b", "kind": "never-heard-of", "what": "No."})) is InternalError
