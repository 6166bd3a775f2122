import pytest

ROWS = [[1.0, 2.0, 3.0], [4.25, -5.0, 0.0]]
LINES = {"Content-Type": "application/jsonlines"}


@pytest.fixture
def server(serve, sum_package):
    return serve(sum_package(bias=0.5), sum_package("other"))


def test_the_usual_bodies_give_the_v2_answer(server):
    expected = {"predictions": server.rows("total", ROWS)}
    csv = "".join(",".join(map(str, row)) + "\n" for row in ROWS)
    bodies = [
        ({"instances": ROWS}, {"Content-Type": "application/json"}),
        (csv, {"Content-Type": "text/csv"}),
        ("".join(f"{row}\n" for row in ROWS), LINES),
        ("".join(f' {{"features": {row}}} \r\n' for row in ROWS), {"Content-Type": "application/x-jsonlines"}),
        ("".join(f'{{"X": {row}}}\n\n' for row in ROWS), LINES),
    ]
    for body, given in bodies:
        headers = {**given, "X-Amzn-SageMaker-Custom-Attributes": "c000b4f9-df62-4c85"}
        answer = server.request("POST", "/models/total/invoke", body, headers)
        assert (answer.status, answer.body) == (200, expected)
        assert server.request("POST", "/invocations?model=total", body, headers).body == expected


@pytest.mark.parametrize(
    ("accept", "media", "body"),
    [
        ("text/csv", "text/csv; charset=utf-8", b"6.5\n-0.25\n"),
        ("application/jsonlines", "application/jsonlines", b"6.5\n-0.25\n"),
        ("image/png, text/csv;q=0.5", "text/csv; charset=utf-8", b"6.5\n-0.25\n"),
        ("*/*", "application/json", {"predictions": [6.5, -0.25]}),
        ("application/x-npy", "application/json", {"predictions": [6.5, -0.25]}),
    ],
)
def test_the_answer_is_of_the_type_that_is_accepted(server, accept, media, body):
    answer = server.request("POST", "/models/total/invoke", {"instances": ROWS}, {"Accept": accept})
    assert (answer.headers["content-type"], answer.body) == (media, body)


def test_several_outputs_are_cells_of_one_line_of_csv(serve, people_package):
    server = serve(people_package)
    body = {"instances": [{"age": 1.5, "visits": 2, "member": True, "city": 'a "b", c'}]}
    answer = server.request("POST", "/invocations", body, {"Accept": "text/csv"})
    assert answer.body == b'1.5,2,true,"a ""b"", c"\n'


@pytest.mark.parametrize("line", ["1,2", "[1, 2, 3] [1, 2, 3]", "{", '{"features": [1, 2, 3], "more": 1}', "NaN"])
def test_a_line_that_is_no_row_is_refused(server, line):
    answer = server.request("POST", "/models/total/invoke", f"[1, 2, 3]\n{line}\n", LINES)
    assert answer.status == 400
    assert answer.body["error"].keys() == {"code", "message"}


def test_models_are_listed_and_neither_loaded_nor_unloaded(server):
    total = {"modelName": "total", "modelUrl": "modelwright:/models/total/versions/1"}
    other = {"modelName": "other", "modelUrl": "modelwright:/models/other/versions/1"}
    assert server.request("GET", "/models").body == {"models": [other, total]}
    assert server.request("GET", "/models/total").body == total
    for method, path, body, status, code in (
        ("GET", "/models/none", None, 404, "serve.unknown-model"),
        ("DELETE", "/models/none", None, 404, "serve.unknown-model"),
        ("POST", "/models/none/invoke", {"instances": ROWS}, 404, "serve.unknown-model"),
        ("DELETE", "/models/total", None, 409, "serve.registry-decides"),
        ("POST", "/models", {"model_name": "total", "url": "/opt/ml/models/total"}, 409, "serve.already-loaded"),
        ("POST", "/models", {"model_name": "new", "url": "/opt/ml/models/new"}, 409, "serve.registry-decides"),
        ("POST", "/models", {}, 400, "serve.bad-request"),
        ("POST", "/models", b"{", 400, "serve.bad-json"),
    ):
        answer = server.request(method, path, body)
        assert (answer.status, answer.headers["modelwright-error"]) == (status, code), (method, path)
        assert answer.body["error"]["code"] == status
