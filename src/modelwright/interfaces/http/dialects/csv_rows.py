"""CSV bodies (RFC 4180) to a table, typed by the model's signature."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

import msgspec

from modelwright.core.errors import BadInputError, TooLargeError

MAX_CELLS = 2**19
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBERS = re.compile(rf"{_NUMBER.pattern}(?:,{_NUMBER.pattern})*")

Table = tuple[list[str], list[list[bytes]]]
"""Column names, and rows of values as JSON."""


def read(body: bytes, known: Mapping[str, str], *, header: bool | None) -> Table:
    """The table; an empty cell is null, a blank line nothing.

    ``known`` are the columns a table may have, with their datatypes. Without a word on the header (None) the first row
    is the header, unless it is all numbers and not the names themselves: then it is data.

    Raises:
        BadInputError: ``serve.bad-csv``, ``serve.unknown-input``, ``serve.bad-data``.
        TooLargeError: ``serve.too-many-cells``.
    """
    try:
        lines: Iterator[list[str]] = (
            row for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if row
        )
        first = next(lines, None)
        if first is None:
            raise BadInputError("serve.bad-csv", "The CSV body has no row.")
        names = list(known)
        rows: list[list[bytes]] = []
        if header is False or (header is None and _is_data(first, known)):
            lines = chain([first], lines)
        else:
            names = _header(first, known)
        numeric = not {"BYTES", "BOOL"} & {known[name] for name in names}
        for row in islice(lines, MAX_CELLS // len(names)):
            text = ",".join(row) if numeric and len(row) == len(names) else ""
            if text and _NUMBERS.fullmatch(text) and text.count(",") == len(row) - 1:
                rows.append(text.encode().split(b","))
            else:
                rows.append(_row(row, names, known))
        if next(lines, None) is not None:
            raise TooLargeError(
                "serve.too-many-cells", f"A CSV body may hold {MAX_CELLS} cells.", fix="Send fewer rows at a time."
            )
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInputError("serve.bad-csv", "The body is no CSV in UTF-8.", why=f"{error}.") from error
    return names, rows


def write(rows: Iterable[Iterable[object]]) -> bytes:
    """Rows of JSON scalars as CSV, without a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in row])
    return text.getvalue().encode()


def _is_data(row: list[str], known: Mapping[str, str]) -> bool:
    return row != list(known) and all(not cell or _NUMBER.fullmatch(cell.strip()) for cell in row)


def _header(row: list[str], known: Mapping[str, str]) -> list[str]:
    names = [cell.strip() if cell.strip() in known else cell for cell in row]
    for name in names:
        if name not in known:
            raise BadInputError(
                "serve.unknown-input",
                f"The model has no column {name[:100]!r}.",
                fix=f"The first row names the columns: {', '.join(known)}.",
            )
    return names


def _row(row: list[str], names: list[str], known: Mapping[str, str]) -> list[bytes]:
    if len(row) != len(names):
        raise BadInputError("serve.bad-csv", f"A row has {len(row)} cells where {len(names)} columns are.")
    return [_cell(cell, name, known[name]) for cell, name in zip(row, names, strict=True)]


def _cell(cell: str, name: str, datatype: str) -> bytes:
    """A cell as a JSON value; what is written like none is refused, the value itself is judged with all others."""
    if not cell:
        return b"null"
    if datatype == "BYTES":
        return msgspec.json.encode(cell)
    plain = cell.strip()
    if _NUMBER.fullmatch(plain):
        return plain.encode()
    if datatype == "BOOL" and plain.lower() in ("true", "false"):
        return plain.lower().encode()
    raise BadInputError(
        "serve.bad-data", f"The data of input {name[:100]!r} is not {datatype}.", why=f"{cell[:50]!r} is none."
    )
