import json

import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import modelwright as mw

ROWS = [[1.0, 2.0, 3.0], [4.25, -5.0, 0.0]]
PEOPLE = pd.DataFrame(
    {"age": [31.5, 2e-7], "visits": [3, -1], "member": [True, False], "city": ['Köln, "Süd"', "Rome\nItaly"]}
)
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
CSV = {"Content-Type": "text/csv; charset=utf-8"}


def post(server, body, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("POST", "/invocations", body, names)


def csv(server, text, content_type="text/csv"):
    return post(server, text if isinstance(text, bytes) else text.encode(), content_type=content_type)


def people(answer):
    """The rows that came back, as rows of the table that was sent."""
    assert answer.status == 200, answer.body
    return [[row[f"{name}_out"] for name in PEOPLE.columns] for row in answer.body["predictions"]]


@pytest.fixture
def parquet(tmp_path):
    """``parquet(sql)``: the file that DuckDB writes for a query."""

    def make(sql, options=""):
        path = tmp_path / "rows.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet{options})")
        return path.read_bytes()

    return make


@pytest.mark.parametrize(
    "body",
    [
        {"instances": ROWS},
        {"inputs": ROWS},
        {"inputs": {"X": ROWS}},
        {"instances": [{"X": row} for row in ROWS]},
        {"dataframe_split": {"columns": [0, 1, 2], "index": [7, 8], "data": ROWS}},
        {"dataframe_split": {"columns": ["2", "1", "0"], "data": [row[::-1] for row in ROWS]}},
        {"dataframe_split": {"data": ROWS}, "params": {"temperature": 1}},
        {"dataframe_records": [{str(index): value for index, value in enumerate(row)} for row in ROWS]},
        ROWS,
    ],
)
def test_every_form_gives_the_v2_answer(serve, sum_package, body):
    server = serve(sum_package(bias=0.5))
    for content_type in ("application/json", "application/json; charset=utf-8", "APPLICATION/JSON; charset=latin-1"):
        answer = post(server, body, content_type=content_type)
        assert answer.body == {"predictions": server.rows("total", ROWS)}
    assert answer.headers["modelwright-version"] == "1"
    assert answer.headers["modelwright-prediction-id"] in {record.prediction_id for record in server.sink.records}


def test_a_body_without_a_type_is_json(serve, sum_package):
    server = serve(sum_package())
    text = b'{"instances": [[1, 2, 3]]}'
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text)
    assert server.raw(head + text).endswith(b'{"predictions":[6.0]}')
    assert post(server, {"instances": ROWS}, content_type="application/x-npy").status == 415


def test_what_pandas_writes_is_read(serve, people_package):
    server = serve(people_package)
    split = json.loads(PEOPLE.to_json(orient="split"))
    expected = PEOPLE.to_numpy().tolist()
    assert people(post(server, {"dataframe_split": split})) == expected
    assert people(post(server, {"dataframe_records": PEOPLE[::-1].to_dict("records")})) == expected[::-1]
    assert people(post(server, {"inputs": PEOPLE.to_dict("list")})) == expected
    assert people(csv(server, PEOPLE.to_csv(index=False))) == expected
    assert people(csv(server, PEOPLE[PEOPLE.columns[::-1]].to_csv(index=False).encode("utf-8-sig"))) == expected


@pytest.mark.parametrize("one_tensor", [True, False])
def test_columns_are_found_by_their_names(serve, sum_package, one_tensor):
    data = np.arange(24, dtype=np.float32).reshape(8, 3) ** 1.5
    frame = pd.DataFrame(data, columns=["age", "fare", "size"])
    if one_tensor:
        package = sum_package("named", features=tuple(frame.columns))
    else:
        package = mw.pack(LinearRegression().fit(frame, data.sum(axis=1)), name="named", examples=frame).package
    server = serve(package)
    expected = post(server, {"dataframe_records": frame.to_dict("records")}).body
    assert np.allclose(expected["predictions"], data.sum(axis=1), rtol=1e-4)
    swapped = frame[["size", "age", "fare"]]
    assert post(server, {"dataframe_split": swapped.to_dict("split")}).body == expected
    assert csv(server, swapped.to_csv(index=False)).body == expected
    assert csv(server, frame.to_csv(index=False, header=False)).body == expected
    assert post(server, {"dataframe_split": frame[["age", "fare"]].to_dict("split")}).status == 400
    assert csv(server, frame.to_csv()).body["message"].startswith("The model has no column ''")


def test_an_empty_cell_is_null_and_a_null_is_judged_by_the_signature(serve, people_package):
    server = serve(people_package)
    answer = csv(server, "age,visits,member,city\n1,2,true,\n\n3,4,FALSE, \n")
    assert people(answer) == [[1.0, 2, True, "nowhere"], [3.0, 4, False, " "]]
    assert csv(server, "age,visits,member,city\n,2,true,x\n").headers["modelwright-error"] == "serve.missing-value"
    assert csv(server, "age,visits,member,city\n1,,true,x\n").headers["modelwright-error"] == "serve.bad-data"
    assert csv(server, "age,visits,member,city\n").body == {"predictions": []}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "serve.bad-csv"),
        ("\n\n", "serve.bad-csv"),
        (b"age\xff", "serve.bad-csv"),
        ('age,"visits', "serve.bad-csv"),
        ('age,visits,member,city\n1,2,true,"a"b"\n', "serve.bad-csv"),
        ("age,visits,member,city\n1,2,true\n", "serve.bad-csv"),
        ("age,visits,member,city\n1,2,true,x,y\n", "serve.bad-csv"),
        ("age,visits,member,city\n1,2,true," + "x" * 200_000, "serve.bad-csv"),
        ("age,visits,member,town\n1,2,true,x\n", "serve.unknown-input"),
        ("age,age,visits,member,city\n1,1,2,true,x\n", "serve.bad-request"),
        ("age,visits,member\n1,2,true\n", "serve.missing-input"),
        ("age,visits,member,city\n1,2.5,true,x\n", "serve.bad-data"),
        ("age,visits,member,city\n1,99999999999999999999,true,x\n", "serve.bad-data"),
        ("age,visits,member,city\n1,2,yes,x\n", "serve.bad-data"),
        ("age,visits,member,city\n1,2,1,x\n", "serve.bad-data"),
        ('age,visits,member,city\n"1,1",2,true,x\n', "serve.bad-data"),
        ("age,visits,member,city\nnan,2,true,x\n", "serve.bad-data"),
        ("age,visits,member,city\n0x1,2,true,x\n", "serve.bad-data"),
        ("age,visits,member,city\n1e999,2,true,x\n", "serve.bad-data"),
    ],
)
def test_csv_that_does_not_fit_is_refused_in_mlflows_words(serve, people_package, text, code):
    answer = csv(serve(people_package), text)
    assert (answer.status, answer.headers["modelwright-error"]) == (400, code), answer.body
    assert answer.body.keys() == {"error_code", "message"}
    assert answer.body["error_code"] == "BAD_REQUEST"


def test_a_csv_body_may_hold_so_many_cells(serve, sum_package):
    server = serve(sum_package())
    answer = csv(server, "1,2,3\n" * 180_000)
    assert (answer.status, answer.headers["modelwright-error"]) == (413, "serve.too-many-cells")
    assert len(csv(server, "0,1,2\n" + "1,2,3\n" * 170_000).body["predictions"]) == 170_000


def test_csv_without_a_header_is_told_by_its_numbers_or_by_its_type(serve, sum_package, people_package):
    server = serve(sum_package(bias=0.5))
    text = "".join(",".join(map(str, row)) + "\n" for row in ROWS)
    assert csv(server, text).body == csv(server, "0,1,2\n" + text).body == {"predictions": server.rows("total", ROWS)}
    assert csv(server, "0,1,2\n", "text/csv; header=absent").body == {"predictions": [3.5]}
    assert csv(server, text, "text/csv; header=present").headers["modelwright-error"] == "serve.unknown-input"
    assert csv(server, "1,0,2\n").body == {"predictions": [3.5]}
    assert csv(server, "0,1\n").headers["modelwright-error"] == "serve.bad-csv"
    other = serve(people_package)
    assert csv(other, "1,2,true,x\n").headers["modelwright-error"] == "serve.unknown-input"
    assert people(csv(other, "1,2,true,x\n", "text/csv;header=absent")) == [[1.0, 2, True, "x"]]


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT64", "INT8", "UINT8", "UINT64", "BOOL"])
def test_the_verdict_on_a_cell_is_the_verdict_on_the_json_value(serve, echo_package, datatype):
    server = serve(echo_package("echo", {"x": (datatype, (-1, 1))}))
    for cell in ("0", "-1", "1.5", "300", "1e2", "1e39", "1e999", "18446744073709551615", "9" * 30, "true", "-0.0"):
        body = f'{{"inputs": [{{"name": "x", "datatype": "{datatype}", "shape": [1], "data": [{cell}]}}]}}'
        second = server.request("POST", "/v2/models/echo/infer", body)
        answer = csv(server, f"x\n{cell}\n")
        assert answer.headers.get("modelwright-error") == second.headers.get("modelwright-error"), cell
        if answer.status == 200:
            assert answer.body["predictions"] == second.body["outputs"][0]["data"], cell


def test_parquet_is_read(serve, sum_package, people_package, parquet):
    server = serve(people_package)
    rows = "SELECT 1.5::DOUBLE AS age, 2::INT AS visits, true AS member, 'x' AS city UNION ALL SELECT 2, 3, false, NULL"
    for options in ("", ", COMPRESSION zstd", ", COMPRESSION gzip"):
        found = people(server.request("POST", "/invocations", parquet(rows, options), PARQUET))
        assert found == [[1.5, 2, True, "x"], [2.0, 3, False, "nowhere"]]
    total = serve(sum_package(bias=0.5))
    body = parquet('SELECT 1::FLOAT AS "0", 2::FLOAT AS "1", 0.1::FLOAT AS "2"')
    expected = total.rows("total", [[1.0, 2.0, 0.1]])
    assert total.request("POST", "/invocations", body, PARQUET).body == {"predictions": expected}


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT 1 AS other", "serve.unknown-input"),
        ("SELECT 1 AS age, 1 AS visits, true AS member", "serve.missing-input"),
        ("SELECT 1 AS age, 1.0::DOUBLE AS visits, true AS member, 'x' AS city", "serve.bad-data"),
        ("SELECT 1 AS age, 1 AS visits, true AS member, 1 AS city", "serve.bad-data"),
        ("SELECT 1 AS age, 1 AS visits, true AS member, [1] AS city", "serve.bad-parquet"),
        ("SELECT 1 AS age, 1 AS visits, true AS member, date '2020-01-01' AS city", "serve.bad-parquet"),
        ("SELECT 'inf'::DOUBLE AS age, 1 AS visits, true AS member, 'x' AS city", "serve.bad-parquet"),
        ("SELECT 'nan'::DOUBLE AS age, 1 AS visits, true AS member, 'x' AS city", "serve.missing-value"),
    ],
)
def test_parquet_that_does_not_fit_is_refused(serve, people_package, parquet, sql, code):
    answer = serve(people_package).request("POST", "/invocations", parquet(sql), PARQUET)
    assert (answer.status, answer.headers["modelwright-error"]) == (400, code), answer.body


def test_a_small_parquet_body_cannot_become_many_values(serve, people_package, parquet):
    server = serve(people_package)
    columns = "1.5::DOUBLE AS age, 2 AS visits, true AS member"
    for rows in (
        f"SELECT {columns}, 'x' AS city FROM range(100000)",
        f"SELECT {columns}, repeat('x', 1000) AS city FROM range(50000)",
    ):
        body = parquet(rows)
        assert len(body) < 100_000
        answer = server.request("POST", "/invocations", body, PARQUET)
        assert (answer.status, answer.headers["modelwright-error"]) == (413, "serve.too-many-cells")
        assert answer.body["error_code"] == "BAD_REQUEST"


def test_a_page_that_unpacks_to_more_than_the_memory_allowed_is_refused(serve, people_package, parquet):
    page = parquet("SELECT repeat('x', 160 * 1024 * 1024) AS city", ", COMPRESSION zstd")
    assert len(page) < 100_000
    answer = serve(people_package).request("POST", "/invocations", page, PARQUET)
    assert (answer.status, answer.headers["modelwright-error"]) == (400, "serve.bad-parquet")


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        (b"{", "serve.bad-json", "BAD_REQUEST"),
        (b"1", "serve.bad-request", "BAD_REQUEST"),
        ({}, "serve.bad-request", "BAD_REQUEST"),
        ({"instances": ROWS, "inputs": ROWS}, "serve.bad-request", "BAD_REQUEST"),
        ({"dataframe_split": {"columns": ["0", "1", "2"], "data": [[1, 2]]}}, "serve.bad-request", "BAD_REQUEST"),
        ({"dataframe_split": {"columns": ["a", "b", "c"], "data": ROWS}}, "serve.unknown-input", "BAD_REQUEST"),
        ({"dataframe_records": [{"0": 1, "1": 2}]}, "serve.missing-input", "BAD_REQUEST"),
        ({"dataframe_records": [{"0": 1, "1": 2, "2": 3}, {"0": 1}]}, "serve.missing-input", "BAD_REQUEST"),
        ({"inputs": {"X": [["a", 2, 3]]}}, "serve.bad-data", "BAD_REQUEST"),
    ],
)
def test_errors_have_mlflows_body(serve, sum_package, body, code, word):
    answer = post(serve(sum_package()), body)
    assert (answer.status, answer.headers["modelwright-error"]) == (400, code), answer.body
    assert answer.body.keys() == {"error_code", "message"}
    assert answer.body["error_code"] == word


def test_which_model_is_meant_is_said_in_the_query_or_in_a_header(serve, sum_package):
    server = serve(sum_package(), sum_package("other", bias=1.0))
    body = {"instances": [[1, 2, 3]]}
    unnamed = post(server, body)
    assert (unnamed.status, unnamed.headers["modelwright-error"]) == (400, "serve.no-model-named")
    assert "other, total" in unnamed.body["message"]
    assert post(server, body, modelwright_model="other").body == {"predictions": [7.0]}
    for target, total in (("total&version=1", 6.0), ("%6fther", 7.0)):
        assert server.request("POST", f"/invocations?model={target}", body).body == {"predictions": [total]}
    for query in ("model=none", "model=total&version=7"):
        unknown = server.request("POST", f"/invocations?{query}", body)
        assert (unknown.status, unknown.body["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    for query in ("model=%ff", "&".join(["model=total"] * 100)):
        assert server.request("POST", f"/invocations?{query}", body).headers["modelwright-error"] == "http.bad-target"


def test_a_caller_may_ask_for_the_labels_only(serve):
    frame = pd.DataFrame({"a": [-2.0, -1.0, 1.0, 2.0] * 5, "b": [0.5, -0.5] * 10}).astype("float32")
    labels = np.where(frame["a"] > 0, "yes", "no")
    server = serve(mw.pack(LogisticRegression().fit(frame, labels), name="sign", examples=frame).package)
    body = {"dataframe_split": frame.to_dict("split")}
    assert set(post(server, body).body["predictions"][0]) == {"label", "probabilities"}
    by_query = server.request("POST", "/invocations?outputs=label", body)
    by_header = post(server, body, modelwright_outputs="label")
    assert by_query.body == by_header.body == {"predictions": labels.tolist()}
    unknown = server.request("POST", "/invocations?outputs=label,none", body)
    assert (unknown.status, unknown.headers["modelwright-error"]) == (400, "serve.unknown-output")


def test_errors_of_the_server_have_mlflows_body_too(serve, sum_package):
    server = serve(sum_package(), authenticate=True)
    answer = post(server, {"instances": ROWS})
    assert (answer.status, answer.body["error_code"]) == (401, "UNAUTHENTICATED")
    forbidden = server.request("POST", "/invocations", {"instances": ROWS}, token="mw_viewer")
    assert (forbidden.status, forbidden.body["error_code"]) == (403, "PERMISSION_DENIED")
    starting = serve(sum_package(), loaded=False).request("POST", "/invocations", b"{}")
    assert (starting.status, starting.body["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


def test_the_version_is_text(serve, sum_package):
    answer = serve(sum_package()).request("GET", "/version")
    assert (answer.status, answer.body.decode()) == (200, mw.__version__)
