import gzip
import stat

import duckdb
import numpy as np
import pytest

from modelwright.adapters.sources.files import FileSource
from modelwright.core.errors import BadInputError
from modelwright.core.table import Table
from modelwright.testing.source import SourceConformance

SOURCE = FileSource()


class TestFileSource(SourceConformance):
    @pytest.fixture
    def source(self):
        return SOURCE

    @pytest.fixture(
        params=[
            "rows.parquet",
            "rows.csv",
            "rows.tsv",
            "rows.json",
            "rows.jsonl",
            "rows.ndjson",
            "it's a [name].parquet",
        ]
    )
    def path(self, request, tmp_path):
        return tmp_path / request.param


def test_every_width_of_number_survives_parquet(tmp_path):
    names = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
    table = Table({name: np.array([1, 2], dtype=name) for name in names})
    SOURCE.write(table, tmp_path / "a.parquet")
    back = SOURCE.read(tmp_path / "a.parquet")
    assert [back[name].dtype.name for name in names] == list(names)


def parquet(path, query):
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return SOURCE.read(path)


def test_foreign_types_become_columns_a_table_can_hold(tmp_path):
    table = parquet(
        tmp_path / "a.parquet",
        "SELECT 1.25::DECIMAL(10,2) AS price, 7::HUGEINT AS big, DATE '2013-01-02' AS day, "
        "TIMESTAMPTZ '2013-01-02 03:00:00+01' AS moment, 'x'::ENUM('x','y') AS level, TIME '01:02:03' AS clock",
    )
    assert table["price"].dtype == table["big"].dtype == np.float64
    assert table["price"][0] == 1.25
    assert str(table["day"][0]) == "2013-01-02T00:00:00.000000"
    assert str(table["moment"][0]) == "2013-01-02T02:00:00.000000"
    assert table["level"].tolist() == ["x"]
    assert table["clock"].tolist() == ["01:02:03"]


def test_nulls_become_each_types_own_missing_value(tmp_path):
    table = parquet(
        tmp_path / "a.parquet",
        "SELECT * FROM (VALUES (1, true, 'a', TIMESTAMP '2013-01-01'), (NULL, NULL, NULL, NULL)) AS t(i, b, s, t)",
    )
    assert table["i"].dtype == np.float64
    assert np.isnan(table["i"][1])
    assert table["b"].tolist() == ["True", None]
    assert table["s"].tolist() == ["a", None]
    assert np.isnat(table["t"][1])


def test_missing_floats_are_null_in_the_file(tmp_path):
    SOURCE.write(Table({"x": np.array([1.0, np.nan])}), tmp_path / "a.parquet")
    assert duckdb.sql(f"SELECT count(x), count(*) FROM '{tmp_path / 'a.parquet'}'").fetchall() == [(1, 2)]


def test_compressed_csv_json_arrays_and_the_words_for_missing_are_read(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x,name\n1,a\nNA,NA\n"))
    table = SOURCE.read(tmp_path / "a.csv.gz")
    assert np.isnan(table["x"][1])
    assert table["name"].tolist() == ["a", None]
    (tmp_path / "a.json").write_text('[{"x": 1}, {"x": 2}]')
    assert SOURCE.read(tmp_path / "a.json")["x"].tolist() == [1, 2]


def test_a_late_fraction_does_not_surprise_a_column_of_whole_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("x\n" + "1\n" * 30_000 + "1.5\n")
    assert SOURCE.read(tmp_path / "a.csv")["x"][-1] == 1.5


def code_of(path):
    with pytest.raises(BadInputError) as caught:
        SOURCE.read(path)
    return caught.value.code, str(caught.value)


def test_a_mistyped_name_gets_a_suggestion(tmp_path):
    SOURCE.write(Table({"x": np.arange(3)}), tmp_path / "january.csv")
    code, text = code_of(tmp_path / "januray.csv")
    assert code == "source.missing"
    assert "Did you mean" in text
    assert "january.csv" in text
    assert code_of(tmp_path / "nowhere" / "a.csv")[0] == "source.missing"
    (tmp_path / "folder.csv").mkdir()
    assert "directory" in code_of(tmp_path / "folder.csv")[1]


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    code, text = code_of(tmp_path / "a.xlsx")
    assert code == "source.unknown-format"
    assert ".parquet" in text


def test_a_file_that_is_not_what_its_name_says_is_unreadable(tmp_path):
    for name in ("a.parquet", "a.json"):
        (tmp_path / name).write_bytes(b"\x00\x01 this is no such file")
        assert code_of(tmp_path / name)[0] == "source.unreadable"


def test_a_nested_column_is_named(tmp_path):
    duckdb.sql(f"COPY (SELECT 1 AS x, [1, 2] AS items) TO '{tmp_path / 'a.parquet'}' (FORMAT parquet)")
    code, text = code_of(tmp_path / "a.parquet")
    assert code == "source.unreadable"
    assert "'items'" in text


def test_a_file_without_rows_is_empty(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n")
    assert code_of(tmp_path / "a.csv")[0] == "source.empty"
    (tmp_path / "b.csv").write_text("")
    assert code_of(tmp_path / "b.csv")[0] in {"source.empty", "source.unreadable"}


def test_a_written_file_is_private_and_nothing_is_left_beside_it(tmp_path):
    SOURCE.write(Table({"x": np.arange(3)}), tmp_path / "a.csv")
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_an_unwritable_place_is_an_error_in_words_and_leaves_nothing(tmp_path):
    with pytest.raises(BadInputError) as caught:
        SOURCE.write(Table({"x": np.arange(3)}), tmp_path / "nowhere" / "a.csv")
    assert caught.value.code == "source.unwritable"
    with pytest.raises(BadInputError) as caught:
        SOURCE.write(Table({"x": np.arange(3)}), tmp_path / "a.xlsx")
    assert caught.value.code == "source.unknown-format"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("yes", "no"), ("Yes", "No"), ("t", "f"), ("T", "f")])
def test_words_of_a_csv_are_text_and_not_booleans(tmp_path, words):
    first, second = words
    path = tmp_path / "rows.csv"
    path.write_text(f"x,the 'y',plain\n1,{first},TRUE\n2,{second},false\n3,,true\n")
    table = FileSource().read(path)
    assert table["the 'y'"].tolist() == [first, second, None]
    assert table["plain"].tolist() == [True, False, True]
