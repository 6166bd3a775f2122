"""The prediction log, read: compacted segments through DuckDB, raw ones as they stand, joined with the ground truth.

Rules of reading, the same for both forms (promise D6):

- Rows come by event time, then by time of receipt, then in the order they were written.
- A client that gives the same prediction id again is answered and counted again (:meth:`DuckLog.arms`,
  :meth:`DuckLog.counts`), but of rows with the same id, row, version and role :meth:`DuckLog.joined` keeps the one
  received first, so that one truth scores one row. Versions and roles that answered the same id keep a row each.
- Of several truths for one id the one received last holds, whole. It is joined to every version and role.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np

from modelwright.core.errors import BadInputError, NotFoundError
from modelwright.core.finding import Window
from modelwright.core.prediction import graph_of
from modelwright.core.signature import Signature
from modelwright.core.table import Table
from modelwright.ports.record import ArmCount
from modelwright.record.chunks import Chunk, Columns, concatenated
from modelwright.record.join import joined_table
from modelwright.record.parquet import (
    TRUTHS,
    Index,
    connect,
    read_index,
    read_predictions,
    read_truths,
    write_columns,
)
from modelwright.record.queries import count_arms, count_truths, models_with_truth
from modelwright.record.segments import Listing, RawSegment, listing, read_segment
from modelwright.record.selection import Selection

T = TypeVar("T")

_ATTEMPTS = 100
_COUNTS = (
    *("requests", "failed_requests", "predictions", "shadow_predictions"),
    *("truths", "unknown_truths", "repeated_truths", "unlogged", "corrupt_segments", "lost_records"),
)
_FORMATS = {
    ".parquet": "FORMAT PARQUET, COMPRESSION ZSTD",
    ".csv": "FORMAT CSV, HEADER",
    ".jsonl": "FORMAT JSON",
    ".ndjson": "FORMAT JSON",
}


class DuckLog:
    """A :class:`~modelwright.ports.record.PredictionLog` over the directory that segment writers write to.

    Keeps the decoded form of raw segments and where it stopped reading each, so that asking again costs what was
    appended since. Usable from several threads.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.RLock()
        self._connection = connect()
        self._raw: dict[str, RawSegment] = {}
        self._indexes: dict[str, Index] = {}
        self._listing = Listing({}, {})
        self._counted: tuple[Any, dict[str, int]] = (None, {})

    def joined(
        self,
        model: str,
        *,
        signature: Signature,
        window: Window | None = None,
        version: str | None = None,
        roles: Sequence[str] = (),
        status: str | None = "ok",
    ) -> Table:
        """One row per predicted row with the latest truth; columns as the port says. No row when nothing matches.

        ``model`` may be a graph's node (``graph/node``): its truth is the graph's.

        ``window`` is over event time. ``truth_at`` is the truth's event time. ``truth`` is float64, or text when any
        truth among the rows is text.
        """
        wanted = Selection(window, version, tuple(roles), status)

        def work() -> tuple[list[Chunk], list[Columns]]:
            stored = self._compacted_chunks(model, wanted)
            raw = (wanted.of(chunk) for chunk in self._raw_chunks(model))
            return [*stored, *raw], self._truths(graph_of(model))

        chunks, truths = self._consistently(work)
        return joined_table([chunk for chunk in chunks if len(chunk.columns["row"])], truths, signature)

    def arms(self, model: str, *, since: float) -> Sequence[ArmCount]:
        """Requests per version and role received at ``since`` (Unix seconds) or later; durations are of answered ones.

        Cheap enough to ask twice a second: files and pieces that are wholly older are not looked into.
        """

        def work() -> list[ArmCount]:
            recent = [chunk for chunk in self._raw_chunks(model) if chunk.received[1] >= since]
            return count_arms(self._connection, self._prediction_files(model, since), recent, since)

        return self._consistently(work)

    def counts(self) -> dict[str, int]:
        """What the log holds.

        ``requests``: predictions asked for, whatever came of them, without shadows; ``failed_requests`` of these;
        ``predictions``: predicted rows of the answered ones; ``shadow_predictions``: rows predicted by shadows;
        ``truths``; ``unknown_truths``: those of an id that was never predicted; ``repeated_truths``: those beyond the
        first of an id; ``unlogged``: rows that gap records tell of; ``corrupt_segments`` and ``lost_records``: damage.
        """

        def work() -> dict[str, int]:
            state = (
                tuple(self._listing.compacted),
                tuple((stem, raw.cursor) for stem, raw in self._raw.items()),
            )
            if self._counted[0] != state:
                self._counted = (state, self._count())
            return dict(self._counted[1])

        return self._consistently(work)

    def export(self, model: str, to: Path, *, signature: Signature, window: Window | None = None) -> int:
        """Write :meth:`joined` to ``to`` as Parquet, CSV or JSON lines (``.parquet``, ``.csv``, ``.jsonl``).

        Raises:
            BadInputError: ``record.unknown-format``, ``record.unwritable``.
            NotFoundError: ``record.no-predictions`` when there is no row to write.
        """
        options = _FORMATS.get(to.suffix.lower())
        if options is None:
            raise BadInputError(
                "record.unknown-format",
                f"There is no export to {to.name!r}.",
                fix=f"Give the file one of the suffixes {', '.join(_FORMATS)}.",
            )
        table = self.joined(model, signature=signature, window=window)
        if not len(table):
            raise NotFoundError(
                "record.no-predictions",
                f"The prediction log holds no answered prediction of {model!r}{' in this window' if window else ''}.",
                fix="Check the name and the window; `modelwright status` shows what was recorded.",
            )
        made = to.with_name(f".{to.name}.part")
        try:
            with self._lock:
                write_columns(self._connection, dict(table.columns), made, options)
            made.replace(to)
        except (OSError, duckdb.IOException) as error:
            made.unlink(missing_ok=True)
            raise BadInputError(
                "record.unwritable",
                f"{to} cannot be written.",
                why=getattr(error, "strerror", None) or str(error).splitlines()[0].split(": ")[-1] + ".",
                fix="Give a path in a directory that exists, that you may write to and that has room.",
            ) from error
        return len(table)

    # Reading, under the lock.

    def _consistently(self, work: Callable[[], T]) -> T:
        """Run ``work`` on a fresh listing; again when a segment was sealed or compacted underneath."""
        with self._lock:
            for _ in range(_ATTEMPTS):
                with contextlib.suppress(FileNotFoundError):
                    self._refresh()
                    return work()
            self._refresh()
            return work()

    def _refresh(self) -> None:
        found = listing(self._directory)
        for stem, path in found.raw.items():
            read_segment(self._raw.setdefault(stem, RawSegment()), path)
        self._raw = {stem: self._raw[stem] for stem in found.raw}
        known = self._indexes
        self._indexes = {
            stem: known[stem] if stem in known else read_index(path) for stem, path in found.compacted.items()
        }
        self._listing = found

    def _raw_chunks(self, model: str) -> Iterator[Chunk]:
        for segment in self._raw.values():
            for (its_model, _), chunks in segment.decoded.chunks.items():
                if its_model == model:
                    yield from chunks

    def _compacted_chunks(self, model: str, wanted: Selection) -> Iterator[Chunk]:
        where, values = wanted.sql()
        by_layout: dict[bytes, list[Path]] = defaultdict(list)
        for stem, index in self._indexes.items():
            for file in index.predictions:
                if file.model == model and wanted.overlaps(*file.event):
                    by_layout[file.layout].append(self._listing.compacted[stem] / file.name)
        for layout, paths in by_layout.items():
            yield read_predictions(self._connection, paths, model, layout, where=where, values=values)

    def _prediction_files(self, model: str, since: float = -np.inf) -> list[Path]:
        return [
            self._listing.compacted[stem] / file.name
            for stem, index in self._indexes.items()
            for file in index.predictions
            if file.model == model and file.received[1] >= since
        ]

    def _truth_files(self) -> list[Path]:
        return [self._listing.compacted[stem] / TRUTHS for stem, index in self._indexes.items() if index.truths]

    def _truths(self, model: str) -> list[Columns]:
        found = [part for segment in self._raw.values() for part in segment.decoded.truths]
        found = [{name: column[part["model"] == model] for name, column in part.items()} for part in found]
        files = self._truth_files()
        return [*([read_truths(self._connection, files, model)] if files else []), *found]

    def _count(self) -> dict[str, int]:
        total: Counter[str] = Counter(dict.fromkeys(_COUNTS, 0))
        for index in self._indexes.values():
            total["unlogged"] += index.unlogged
            for file in index.predictions:
                total.update(file.counted)
        for segment in self._raw.values():
            total["unlogged"] += segment.decoded.unlogged
            total["corrupt_segments"] += segment.corrupt
            total["lost_records"] += segment.lost if segment.corrupt else 0
            for chunks in segment.decoded.chunks.values():
                for chunk in chunks:
                    total.update(chunk.counted())
        for model in self._truth_models():
            total.update(self._count_truths(model))
        return dict(total)

    def _truth_models(self) -> set[str]:
        parts = (part for segment in self._raw.values() for part in segment.decoded.truths)
        stored = models_with_truth(self._connection, self._truth_files())
        return stored | {model for part in parts for model in part["model"].tolist()}

    def _count_truths(self, model: str) -> dict[str, int]:
        ids = [chunk.columns["prediction_id"][chunk.columns["row"] == 0] for chunk in self._raw_chunks(model)]
        raw_ids = np.concatenate([np.empty(0, dtype=object), *ids])
        return count_truths(self._connection, concatenated(self._truths(model)), self._prediction_files(model), raw_ids)
