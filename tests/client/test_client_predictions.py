"""Rows go out as people have them, and come back as named arrays."""

import concurrent.futures
import datetime as dt

import numpy as np
import pandas as pd
import pytest

from modelwright.core.errors import BadInputError, NotFoundError, UnauthenticatedError
from modelwright.core.prediction import PredictionRecord, TruthRecord
from modelwright.core.signature import Feature, InputPolicy, Signature, TensorSpec
from modelwright.testing.runner import FunctionRunners

ROWS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
PEOPLE = {"age": [30.5, 41.0], "visits": [1, 2], "member": [True, False], "city": ["Bern", None]}


@pytest.fixture
def url():
    return lambda server: f"http://127.0.0.1:{server.port}"


def test_an_array_gives_named_arrays_an_id_and_the_version(serve, sum_package, connect, url):
    client = connect(url(serve(sum_package())))
    answer = client.predict("total", ROWS)
    assert answer.outputs["total"].tolist() == [[6.0], [15.0]]
    assert (answer.model, answer.version, len(answer), len(answer.id)) == ("total", "1", 2, 32)
    assert answer.outputs["total"].flags.writeable


@pytest.mark.parametrize(
    "rows",
    [
        ROWS.astype(np.float64),
        ROWS.astype(np.int64),
        ROWS.tolist(),
        {"X": ROWS},
        {"X": ROWS.tolist()},
        pd.DataFrame(ROWS, columns=["c", "b", "a"]),
        np.asfortranarray(ROWS),
        ROWS.astype(">f4"),
    ],
    ids=["float64", "integers", "lists", "tensors", "lists-by-name", "frame", "columns-first", "big-endian"],
)
def test_a_tensor_may_come_in_any_form_that_holds_the_same_values(serve, sum_package, connect, url, rows):
    client = connect(url(serve(sum_package())))
    assert client.predict("total", rows).outputs["total"].tolist() == [[6.0], [15.0]]


def test_a_vector_is_one_row(serve, sum_package, connect, url):
    assert connect(url(serve(sum_package()))).predict("total", ROWS[0]).outputs["total"].tolist() == [[6.0]]


def test_columns_are_found_by_name_in_whatever_order(serve, sum_package, connect, url):
    client = connect(url(serve(sum_package(features=("a", "b", "c")), sum_package("other", bias=1.0))))
    frame = pd.DataFrame({"c": [100.0], "unused": ["x"], "a": [1.0], "b": [10.0]})
    for rows in (frame, frame.to_dict("list"), frame.to_dict("records"), frame.iloc[0].to_dict()):
        assert client.predict("total", rows).outputs["total"].tolist() == [[111.0]]


def test_a_frame_without_a_column_names_the_column(serve, sum_package, connect, url):
    client = connect(url(serve(sum_package(features=("a", "b", "c")))))
    with pytest.raises(BadInputError, match="no column 'c'") as raised:
        client.predict("total", pd.DataFrame({"a": [1.0], "b": [2.0]}))
    assert raised.value.code == "features.missing-column"


@pytest.mark.parametrize(
    "rows",
    [
        PEOPLE,
        pd.DataFrame(PEOPLE),
        pd.DataFrame(PEOPLE).astype({"city": "category"}),
        [dict(zip(PEOPLE, row, strict=True)) for row in zip(*PEOPLE.values(), strict=True)],
        {name: np.array(values, object if name == "city" else None) for name, values in PEOPLE.items()},
        {name: np.array(values, object if name == "city" else None).reshape(-1, 1) for name, values in PEOPLE.items()},
    ],
    ids=["columns", "frame", "categories", "records", "vectors", "matrices"],
)
def test_columns_of_every_kind_with_a_missing_text(serve, people_package, connect, url, rows):
    answer = connect(url(serve(people_package))).predict("people", rows)
    frame = answer.to_pandas()
    assert frame["age_out"].tolist() == [30.5, 41.0]
    assert frame["visits_out"].tolist() == [1, 2]
    assert frame["member_out"].tolist() == [True, False]
    assert frame["city_out"].tolist() == ["Bern", "nowhere"]


def test_one_row_may_be_a_dictionary_of_values_and_texts_may_be_bytes(serve, people_package, connect, url):
    client = connect(url(serve(people_package)))
    one = {"age": 1.5, "visits": 2, "member": False, "city": "Bern"}
    for city, found in (("Bern", "Bern"), (b"Z\xc3\xbcrich", "Zürich"), (None, "nowhere"), (pd.NA, "nowhere")):
        assert client.predict("people", one | {"city": city}).outputs["city_out"].tolist() == [[found]]


def test_frames_of_polars_and_arrow_tables_are_rows_too(serve, people_package, connect, url):
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    client = connect(url(serve(people_package)))
    coded = arrow.table(PEOPLE)
    coded = coded.set_column(3, "city", coded["city"].dictionary_encode())
    for rows in (polars.DataFrame(PEOPLE), arrow.table(PEOPLE), coded, arrow.RecordBatch.from_pydict(PEOPLE)):
        answer = client.predict("people", rows)
        assert answer.to_arrow()["city_out"].to_pylist() == ["Bern", "nowhere"]
        assert answer.to_arrow()["visits_out"].to_pylist() == [1, 2]


def test_a_missing_text_where_none_may_be_missing_is_refused_by_the_server(serve, echo_package, connect, url):
    package = echo_package("words", {"word": ("BYTES", (-1, 1))}, (Feature("word", "category"),))
    with pytest.raises(BadInputError, match="has a null") as raised:
        connect(url(serve(package))).predict("words", {"word": ["a", None]})
    assert raised.value.code == "serve.missing-value"


def test_scores_are_named_by_their_classes(serve, packaged, connect, url):
    signature = Signature(
        inputs=(TensorSpec("X", "FP32", (-1, 1)),),
        outputs=(TensorSpec("label", "BYTES", (-1,)), TensorSpec("scores", "FP32", (-1, 2))),
        task="binary",
        classes=("no", "yes"),
        label_output="label",
        score_output="scores",
    )
    package = packaged("named", signature)

    def run(inputs):
        texts = np.array(["yes"] * len(inputs["X"]), object)
        return {"label": texts, "scores": np.tile(np.float32([0.25, 0.75]), (len(texts), 1))}

    client = connect(url(serve(package, loader=FunctionRunners({package.digest: run}))))
    frame = client.predict("named", {"X": [1.0, 2.0]}).to_pandas()
    assert frame.to_dict("list") == {"label": ["yes"] * 2, "scores.no": [0.25] * 2, "scores.yes": [0.75] * 2}


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (np.array([["a", "b", "c"]]), "client.wrong-datatype"),
        (ROWS[:, :2].copy(), "serve.wrong-shape"),
        ([[1, 2, 3], [4, 5]], "client.wrong-shape"),
        (pd.DataFrame({"a": ["x"], "b": ["y"], "c": ["z"]}), "client.wrong-datatype"),
    ],
    ids=["text", "width", "ragged", "frame-of-text"],
)
def test_rows_that_do_not_fit_are_refused_with_words(serve, sum_package, connect, url, rows, code):
    with pytest.raises(BadInputError) as raised:
        connect(url(serve(sum_package()))).predict("total", rows)
    assert raised.value.code == code


def test_a_number_that_the_model_cannot_hold_is_refused_and_not_bent(serve, echo_package, connect, url):
    client = connect(url(serve(echo_package("small", {"x": ("INT8", (-1, 1))}))))
    assert client.predict("small", {"x": [1.0, -128.0]}).outputs["x_out"].tolist() == [[1], [-128]]
    for value in (300, 1.5, float("nan"), "a"):
        with pytest.raises(BadInputError) as raised:
            client.predict("small", {"x": [value]})
        assert raised.value.code == "client.wrong-datatype"


def test_outputs_version_id_event_time_and_priority_reach_the_server(serve, people_package, connect, url):
    server = serve(people_package)
    moment = dt.datetime(2013, 3, 1, 12, tzinfo=dt.UTC)
    answer = connect(url(server)).predict(
        "people", PEOPLE, outputs=["city_out"], version="1", id="p-ü", event_time=moment, priority=3
    )
    assert (list(answer.outputs), answer.id, answer.version) == (["city_out"], "p-ü", "1")
    (record,) = server.records(1, PredictionRecord)
    assert (record.prediction_id, record.event_time) == ("p-ü", moment.timestamp())


def test_what_the_input_policy_reports_comes_with_the_answer(serve, echo_package, connect, url):
    package = echo_package(
        "warned",
        {"age": ("FP64", (-1, 1))},
        (Feature("age", "number", low=0.0, high=100.0),),
        InputPolicy(out_of_range="warn"),
    )
    answer = connect(url(serve(package))).predict("warned", {"age": [500.0]})
    assert len(answer.warnings) == 1
    assert "age" in answer.warnings[0]


def test_errors_have_the_servers_code_and_kind(serve, sum_package, connect, url):
    server = serve(sum_package(), authenticate=True)
    client = connect(url(server), token="mw_predictor")
    with pytest.raises(NotFoundError) as raised:
        client.predict("nobody", ROWS)
    assert raised.value.code == "serve.unknown-model"
    with pytest.raises(NotFoundError) as raised:
        client.predict("total", ROWS, version="9")
    assert raised.value.code == "serve.unknown-version"
    with pytest.raises(UnauthenticatedError) as raised:
        connect(url(server), token="mw_wrong").predict("total", ROWS)
    assert (raised.value.code, raised.value.details["status"]) == ("http.unknown-token", 401)


def test_readiness_models_and_metadata(serve, sum_package, people_package, connect, url):
    client = connect(url(serve(sum_package(), people_package)))
    assert client.ready()
    assert client.ready("total")
    assert not client.ready("nobody")
    assert client.models() == ["people", "total"]
    told = client.metadata("people")
    assert told.columns == ("age", "visits", "member", "city")
    assert (told.versions, told.binary, told.signature.features[1].null_as) == (("1",), True, "nowhere")


def test_a_server_that_is_not_ready_yet_is_just_not_ready(serve, sum_package, connect, url):
    assert not connect(url(serve(sum_package(), loaded=False))).ready()


def test_ground_truth_by_id_by_list_and_by_the_columns_of_a_frame(serve, sum_package, connect, url):
    server = serve(sum_package())
    client = connect(url(server))
    assert client.truth("total", "p-1", [1, 0]) == 1
    assert client.truth("total", ["p-2", "p-3"], [np.int64(1), [True, None]], event_time=5.0) == 2
    frame = pd.DataFrame({"id": ["p-4", "p-4", "p-5"], "late": [1.5, 2.5, 3.5]})
    assert client.truth("total", frame["id"], frame["late"]) == 2
    found = {record.prediction_id: record.values for record in server.records(5, TruthRecord)}  # noqa: PD011
    assert found == {"p-1": (1, 0), "p-2": (1,), "p-3": (True, None), "p-4": (1.5, 2.5), "p-5": (3.5,)}
    with pytest.raises(BadInputError) as raised:
        client.truth("total", ["p-1"], [1, 2])
    assert raised.value.code == "client.bad-truth"
    with pytest.raises(NotFoundError):
        client.truth("nobody", "p-1", 1)


def test_one_client_serves_many_threads(serve, sum_package, url):
    from modelwright.client import Client

    with (
        Client(url(serve(sum_package())), pool=4) as client,
        concurrent.futures.ThreadPoolExecutor(16) as threads,
    ):
        asked = [threads.submit(client.predict, "total", ROWS + number) for number in range(200)]
        assert [one.result().outputs["total"][0, 0] for one in asked] == [6.0 + 3 * number for number in range(200)]
        assert len({one.result().id for one in asked}) == 200


def test_many_awaited_calls_at_once_belong_to_their_answers(serve, sum_package, url):
    import asyncio

    from modelwright.client import AsyncClient

    async def calls():
        async with AsyncClient(url(serve(sum_package())), pool=4) as client:
            return await asyncio.gather(*(client.predict("total", ROWS + number) for number in range(200)))

    assert [one.outputs["total"][0, 0] for one in asyncio.run(calls())] == [6.0 + 3 * number for number in range(200)]
