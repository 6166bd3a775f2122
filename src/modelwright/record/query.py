"""SQL over recorded rows: the user's own question, answered by DuckDB."""

from __future__ import annotations

from typing import Any

from modelwright.core.errors import BadInputError
from modelwright.core.table import Table


def query(rows: Table, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of a statement over the view ``predictions``.

    The statement sees nothing else: no file, no address, no extension.

    Args:
        rows: what :meth:`~modelwright.ports.record.PredictionLog.joined` gave.
        sql: one statement in DuckDB's dialect; column names with a dot are quoted (``"input.hour"``).

    Raises:
        BadInputError: ``record.bad-query`` with what DuckDB says.
    """
    import duckdb  # lazy: 100 ms

    with duckdb.connect() as connection:
        connection.register("given", dict(rows.columns))
        connection.execute("create table predictions as select * from given")
        connection.unregister("given")
        connection.execute("set enable_external_access = false; set lock_configuration = true")
        try:
            cursor = connection.execute(sql)
            names = [str(column[0]) for column in cursor.description or ()]
            return names, cursor.fetchall()
        except duckdb.Error as error:
            raise BadInputError(
                "record.bad-query",
                f"The query failed: {str(error).splitlines()[0]}",
                why=f"The view `predictions` has the columns {', '.join(rows.names)}.",
                fix='Quote names with a dot: select avg("output.probabilities.1") from predictions',
            ) from error
