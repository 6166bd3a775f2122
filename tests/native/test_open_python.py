"""`open_model`, loader python: the user's own predict, and answers that are answers."""

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from modelwright.core.errors import BadInputError, InternalError
from modelwright.core.native import Native
from modelwright.core.signature import Signature, TensorSpec
from modelwright.native import open_model
from modelwright.native.python_file import MODULE

SIGNATURE = Signature(
    (TensorSpec("x", "FP64", (-1, 1), ("x",)),),
    (TensorSpec("double", "FP64", (-1,)), TensorSpec("word", "BYTES", (-1,))),
)
X = np.array([[1.0], [2.5]])
GOOD = """
def predict(inputs):
    x = inputs["x"].reshape(-1)
    return {"double": 2 * x, "word": ["many" if value > 2 else "few" for value in x]}
"""


def opened(tmp_path: Path, source: str, signature: Signature = SIGNATURE):
    (tmp_path / "model.py").write_text(textwrap.dedent(source))
    return open_model(Native("python", "model.py"), tmp_path / "model.py", signature)


def test_a_function_answers_with_arrays_of_the_signature(tmp_path):
    answers = opened(tmp_path, GOOD)({"x": X})
    assert list(answers) == ["double", "word"]
    assert answers["double"].tolist() == [2.0, 5.0]
    assert answers["word"].dtype == object
    assert answers["word"].tolist() == ["few", "many"]


def test_a_class_is_made_once_with_the_folder_of_its_file(tmp_path):
    (tmp_path / "factor.txt").write_text("3")
    source = """
    class Model:
        def __init__(self, folder):
            self.factor = float((folder / "factor.txt").read_text())
        def predict(self, inputs):
            x = inputs["x"].reshape(-1)
            return {"double": self.factor * x, "word": np.array(["w"] * len(x))}
    import numpy as np
    """
    assert opened(tmp_path, source)({"x": X})["double"].tolist() == [3.0, 7.5]


def test_a_dataclass_in_the_file_works(tmp_path):
    source = (
        "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass P:\n    a: int = 1\n"
    )
    assert opened(tmp_path, source + GOOD)({"x": X})["double"].tolist() == [2.0, 5.0]


def test_whole_numbers_are_numbers_and_fractions_are_not_whole(tmp_path):
    whole = "def predict(inputs): return {'double': [1, 2], 'word': ['a', 'b']}"
    assert opened(tmp_path, whole)({"x": X})["double"].dtype == np.float64
    signature = Signature(SIGNATURE.inputs, (TensorSpec("double", "INT64", (-1,)), SIGNATURE.outputs[1]))
    with pytest.raises(InternalError):
        opened(tmp_path, GOOD, signature)({"x": X})


def test_before_a_signature_names_outputs_anything_with_a_name_and_the_rows_is_an_answer(tmp_path):
    free = Signature(SIGNATURE.inputs, ())
    assert set(opened(tmp_path, GOOD, free)({"x": X})) == {"double", "word"}
    with pytest.raises(InternalError) as caught:
        opened(tmp_path, "def predict(inputs): return {'a': [1]}", free)({"x": X})
    assert "1 rows where 2" in caught.value.why


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ("[1, 2]", "a list where a dictionary"),
        ("None", "a NoneType where a dictionary"),
        ("{}", "nothing where double, word"),
        ("{'double': [1, 2]}", "double where double, word"),
        ("{'double': [1, 2], 'word': ['a', 'b'], 'more': [1, 2]}", "more where double, word"),
        ("{'double': [1, 2, 3], 'word': ['a', 'b']}", "3 rows where 2"),
        ("{'double': 1.0, 'word': ['a', 'b']}", "shape []"),
        ("{'double': [[1], [2]], 'word': ['a', 'b']}", "shape [2, 1]"),
        ("{'double': ['1', '2'], 'word': ['a', 'b']}", "object where FP64"),
        ("{'double': [1, 2], 'word': [1, 2]}", "int64 where BYTES"),
        ("{'double': [1, 2], 'word': ['a', None]}", "NoneType among its texts"),
        ("{'double': [[1], [1, 2]], 'word': ['a', 'b']}", "unequal lengths"),
        ("{'double': {1, 2}, 'word': ['a', 'b']}", "set among its texts"),
        ("{'double': [1j, 2j], 'word': ['a', 'b']}", "complex128"),
    ],
)
def test_an_answer_that_is_none_says_what_is_wrong_with_it(tmp_path, returned, why):
    run = opened(tmp_path, f"def predict(inputs): return {returned}")
    with pytest.raises(InternalError) as caught:
        run({"x": X})
    assert caught.value.code == "native.bad-answer"
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def predict(:", "line 1"),
        ("import no_such_module_here", "'no_such_module_here'"),
        ("1 / 0", "ZeroDivisionError"),
        ("x = 1", "no predict"),
        ("predict = 3", "no predict"),
        ("async def predict(inputs): return {}", "coroutine"),
        ("class Model:\n    def __init__(self): pass\n    def predict(self, i): return {}", "TypeError"),
        ("class Model:\n    def __init__(self, folder): pass", "no predict"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, source, why):
    with pytest.raises(BadInputError) as caught:
        opened(tmp_path, source)
    assert caught.value.code == "native.unreadable-model"
    assert why in caught.value.why


def test_an_exception_of_the_model_is_the_callers_input(tmp_path):
    run = opened(tmp_path, "def predict(inputs): raise ValueError('x is odd\\nand more')")
    with pytest.raises(BadInputError) as caught:
        run({"x": X})
    assert caught.value.code == "serve.model-rejected-input"
    assert caught.value.why == "ValueError: x is odd"


def test_a_class_that_takes_a_device_is_told_it_and_another_is_not(tmp_path):
    taking = "import numpy as np\nclass Model:\n    def __init__(self, folder, device='none'): self.device = device\n"
    answering = "    def predict(self, inputs): return {'y': np.array([self.device], dtype=object)}\n"
    file = tmp_path / "model.py"
    file.write_text(taking + answering)
    native, outputs = Native("python", "model.py"), Signature((), (TensorSpec("y", "BYTES", (-1,)),))
    assert open_model(native, file, outputs, device="cuda:1")({})["y"].tolist() == ["cuda:1"]
    file.write_text(taking.replace(", device='none'", "").replace("= device", "= 'own'") + answering)
    assert open_model(native, file, outputs, device="cuda:1")({})["y"].tolist() == ["own"]


TOTAL = Signature((TensorSpec("x", "FP64", (-1, 1)),), (TensorSpec("total", "FP64", (-1, 1)),))


def total(tmp_path, source):
    return opened(tmp_path, source, TOTAL)


def test_a_stream_gives_chunks_of_any_number_of_rows_and_is_closed_when_it_is_left(tmp_path):
    model = total(
        tmp_path,
        """
        import numpy as np

        closed = []

        def predict(inputs):
            return {"total": inputs["x"]}

        def stream(inputs):
            try:
                for rows in range(1, 100):
                    yield {"total": np.zeros((rows, 1))}
            finally:
                closed.append(True)
        """,
    )
    assert model.streams
    assert not model.sequences
    chunks = model.stream({"x": np.ones((1, 1))})
    assert [next(chunks)["total"].shape for _ in range(3)] == [(1, 1), (2, 1), (3, 1)]
    chunks.close()
    assert sys.modules[MODULE].closed == [True]


@pytest.mark.parametrize("made", ["{'other': inputs['x']}", "3", "{'total': inputs['x'].astype(str)}"])
def test_a_chunk_that_is_no_answer_is_told(tmp_path, made):
    model = total(
        tmp_path,
        f"""
        def predict(inputs):
            return {{"total": inputs["x"]}}

        def stream(inputs):
            yield {made}
        """,
    )
    with pytest.raises(InternalError) as caught:
        next(model.stream({"x": np.ones((1, 1))}))
    assert caught.value.code == "native.bad-answer"


def test_a_model_that_takes_a_sequence_is_given_one_of_its_own_where_a_request_has_none(tmp_path):
    model = total(
        tmp_path,
        """
        def predict(inputs, sequence):
            assert sequence.start and sequence.end and not sequence.state
            sequence.state["seen"] = True
            return {"total": inputs["x"]}
        """,
    )
    assert model.sequences
    for _ in range(2):
        assert model({"x": np.ones((1, 1))})["total"].tolist() == [[1.0]]
