"""Records to segments: encode and buffer, one write per flush, a sync behind it.

Promises D2, D3 and D7 live here. ``flush`` hands every buffered frame to the operating system in one write, so a killed
process loses nothing it answered. ``batched`` mode syncs within 100 ms or 1 MiB on a thread; ``sync`` mode syncs before
``flush`` returns. A descriptor whose write or sync failed is never used again: what it is known to hold stays, what was
not yet synced is written again into a new segment, and what could not be written anywhere is counted and becomes a gap
record. Standard library, NumPy and msgspec only: this is on the serving path.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from modelwright.core.errors import BadInputError, UnavailableError
from modelwright.core.prediction import GapRecord, PredictionRecord, Record
from modelwright.record.frames import footer_payload, frame, segment_header
from modelwright.record.open_segment import Frame, OpenSegment, sync_directory
from modelwright.record.payload import MAX_BYTES, Encoder

SYNC_SECONDS = 0.1
SYNC_BYTES = 2**20
RETRY_SECONDS = 0.1
MAX_BEHIND = 4
"""Full segments that may wait for their sync before a flush waits too."""

_logger = logging.getLogger(__name__)


def _new_epoch(directory: Path, writer_id: str) -> int:
    """Seconds of the wall clock, or one more than the newest epoch this writer has left here."""
    pattern = re.compile(re.escape(writer_id) + r"-(\d+)-\d+(\..*)?")
    compacted = directory / "parquet"
    names = [path.name for place in (directory, compacted) if place.is_dir() for path in place.iterdir()]
    epochs = [int(match[1]) for name in names if (match := pattern.fullmatch(name))]
    return max([int(time.time()), *(epoch + 1 for epoch in epochs)]) % 2**32


class SegmentWriter:
    """A :class:`~modelwright.ports.record.RecordSink` over segment files ``<writer>-<epoch>-<n>`` in one directory.

    ``append`` and ``flush`` belong to one thread. Two live writers must not share a ``writer_id``.

    Args:
        directory: where segments go; created 0700.
        writer_id: letters, digits, ``_`` and ``.``; the first part of the segments' names.
        mode: ``batched`` (synced within 100 ms or 1 MiB) or ``sync`` (synced before ``flush`` returns).
        segment_bytes: size at which a segment is sealed and the next begun.
        tensor_bytes: numeric tensors of more than two dimensions are kept up to this size; of larger ones, what they
            were.
        write: writes bytes to a descriptor and returns how many were taken; raises OSError.
        sync: puts a descriptor's bytes on stable storage; raises OSError.

    Raises:
        BadInputError: ``record.bad-writer`` for an unusable id or mode.
        UnavailableError: ``record.unwritable`` when the directory cannot be made.
    """

    def __init__(
        self,
        directory: Path,
        *,
        writer_id: str,
        mode: str = "batched",
        segment_bytes: int = 16 * 2**20,
        tensor_bytes: int = MAX_BYTES,
        write: Callable[[int, memoryview], int] = os.write,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.]{1,64}", writer_id) or mode not in {"batched", "sync"}:
            raise BadInputError(
                "record.bad-writer",
                f"There is no prediction log for writer {writer_id!r} in mode {mode!r}.",
                fix="Name the writer with letters, digits, '_' and '.'; the mode is batched or sync.",
            )
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._epoch = _new_epoch(directory, writer_id)
        except OSError as error:
            raise UnavailableError(
                "record.unwritable",
                f"The prediction log cannot be written under {directory}.",
                why=error.strerror or str(error),
                fix="Give the data directory to this user, or set MODELWRIGHT_HOME to another one.",
            ) from error
        self._directory, self._writer_id, self._limit = directory, writer_id, segment_bytes
        self._write, self._sync = write, sync
        self._encode = Encoder(tensor_bytes).encode
        self._buffer: list[Frame] = []
        self._sequence = self._number = 0
        self._gap_rows, self._gap_since, self._unlogged, self._retry_at = 0, 0.0, 0, 0.0
        self._lock = threading.Lock()  # guards everything above that flushing and syncing share
        self._round = threading.Lock()  # one sync round at a time, so that segments become stable in order
        self._segment: OpenSegment | None = None
        self._full: list[OpenSegment] = []
        self._due, self._urgent = threading.Event(), threading.Event()
        self._closing = False
        self._flusher = threading.Thread(target=self._run, name="record-sync", daemon=True)
        self._synchronous = mode == "sync"
        if not self._synchronous:
            self._flusher.start()

    @property
    def unlogged(self) -> int:
        """Predicted rows that this writer could not log since it started; exact."""
        return self._unlogged

    @property
    def healthy(self) -> bool:
        """False while rows are missing from the log without a gap record that says so."""
        return self._gap_rows == 0

    def append(self, record: Record) -> None:
        """Encode and buffer one record."""
        rows = record.rows if isinstance(record, PredictionRecord) else 0
        self._buffer.append((frame(self._encode(record), self._epoch, self._sequence), rows, 0.0))
        self._sequence += 1

    def flush(self) -> bool:
        """Hand every buffered record to the operating system (``sync`` mode: to stable storage).

        Returns:
            False when some record is not in the log. Its predicted rows are counted in :attr:`unlogged`, and a gap
            record follows as soon as the log can be written again.
        """
        if not self._buffer and not self._gap_rows:
            return True
        with self._lock:
            frames, self._buffer = self._buffer, []
            written = self._put(frames)
            segment = self._segment
            behind = len(self._full) >= MAX_BEHIND
            urgent = bool(self._full) or (segment is not None and segment.unsynced_bytes >= SYNC_BYTES)
        if self._synchronous or self._closing or behind:  # behind: the disk sets the pace
            return self._sync_round() and written
        if urgent:
            self._urgent.set()
        if not self._due.is_set():
            self._due.set()
        return written

    def close(self) -> None:
        """Flush, sync and seal. Later records go into a new segment, synced at each flush and left open."""
        if self._closing:
            return
        self.flush()
        self._closing = True
        if not self._synchronous:
            self._urgent.set()
            self._due.set()
            self._flusher.join()
        with self._lock:
            if self._segment is not None:
                self._full.append(self._segment)
                self._segment = None
        self._sync_round()

    # Writing. Everything here runs under the lock.

    def _put(self, frames: list[Frame]) -> bool:
        """Write ``frames``, and behind them the gap record if one is due; count what does not go in."""
        segment = self._usable_segment()
        if segment is None:
            self._lose(frames)
            return False
        if self._gap_rows:
            frames.append(self._gap_frame())
        whole = self._write_frames(segment, frames)
        self._gap_rows -= sum(rows for _, rows, since in frames[:whole] if since)
        if whole < len(frames):
            self._lose([item for item in frames[whole:] if not item[2]])  # an unwritten gap is still counted
            self._retry_at = time.monotonic() + RETRY_SECONDS
        if whole < len(frames) or segment.size >= self._limit:
            self._full.append(segment)
            self._segment = None
        return whole == len(frames)

    def _usable_segment(self) -> OpenSegment | None:
        """The open segment, or a new one; None while the log cannot be written (tried again every 100 ms)."""
        if self._segment is None and time.monotonic() >= self._retry_at:
            try:
                self._segment = self._new_segment()
            except OSError as error:
                self._report("no segment can be opened", error)
                self._retry_at = time.monotonic() + RETRY_SECONDS
        return self._segment

    def _new_segment(self) -> OpenSegment:
        self._number += 1
        return OpenSegment(self._directory, f"{self._writer_id}-{self._epoch}-{self._number:06d}")

    def _gap_frame(self) -> Frame:
        gap = GapRecord(unlogged=self._gap_rows, since=self._gap_since, until=time.time())
        data = frame(self._encode(gap), self._epoch, self._sequence)
        self._sequence += 1
        return data, self._gap_rows, self._gap_since

    def _write_frames(self, segment: OpenSegment, frames: list[Frame]) -> int:
        """How many of the frames are wholly in the file now; a part of a frame is cut off again."""
        if not frames:
            return 0
        header = segment_header(self._epoch) if segment.size == 0 else b""
        data = memoryview(b"".join([header, *(item[0] for item in frames)]))
        taken, whole, end = self._write_all(segment, data), 0, len(header)
        for item, _, _ in frames:
            if end + len(item) > taken:
                break
            end += len(item)
            whole += 1
        end = end if taken >= len(header) else 0
        if taken > end:
            with contextlib.suppress(OSError):  # a torn tail stays then; readers stop before it
                os.ftruncate(segment.fd, segment.size + end)
        segment.size += end
        segment.frames += whole
        segment.unsynced += frames[:whole]
        segment.unsynced_bytes += end
        if whole:
            segment.last_sequence = int.from_bytes(frames[whole - 1][0][12:20], "little")
        return whole

    def _write_all(self, segment: OpenSegment, data: memoryview) -> int:
        """Bytes taken before the end or the first error."""
        taken = 0
        while taken < len(data):
            try:
                count = self._write(segment.fd, data[taken:])
            except InterruptedError:
                continue
            except OSError as error:
                self._report("a write failed", error)
                return taken
            if count <= 0:
                return taken
            taken += count
        return taken

    def _lose(self, frames: list[Frame]) -> None:
        """Count rows that are not in the log; a lost gap record is due again."""
        rows = sum(rows for _, rows, _ in frames)
        if not rows:
            return
        begun = [since for _, _, since in frames if since]
        if self._gap_rows:
            begun.append(self._gap_since)
        self._gap_since = min(begun, default=time.time())
        self._gap_rows += rows
        self._unlogged += sum(rows for _, rows, since in frames if not since)

    def _report(self, what: str, error: OSError) -> None:
        if self._gap_rows == 0:
            _logger.error("prediction log: %s (%s); predictions go on and are counted", what, error.strerror or error)

    # Syncing: on the flusher thread in ``batched`` mode, inside ``flush`` in ``sync`` mode.

    def _run(self) -> None:
        while not self._closing:
            self._due.wait()
            self._urgent.wait(SYNC_SECONDS)
            self._due.clear()
            self._urgent.clear()
            self._sync_round()

    def _sync_round(self) -> bool:
        """Sync what was written so far, oldest segment first, and seal full segments; False when rows were lost."""
        with self._round:
            return self._sync_oldest_first()

    def _sync_oldest_first(self) -> bool:
        with self._lock:
            full, self._full = self._full, []
            work = [(segment, True) for segment in full]
            if self._segment is not None and self._segment.unsynced:
                work.append((self._segment, False))
            todo = [(segment, seal, segment.size, segment.unsynced) for segment, seal in work]
            for segment, _ in work:
                segment.unsynced, segment.unsynced_bytes = [], 0
        kept = True
        for segment, seal, size, frames in todo:
            try:
                self._sync(segment.fd)
                segment.link()
            except OSError as error:
                kept = self._abandon(segment, frames, error) and kept
                continue
            segment.synced = size
            if seal:
                self._seal(segment)
        return kept

    def _seal(self, segment: OpenSegment) -> None:
        """Footer, sync, rename, close. A segment that cannot be sealed stays as it is and is read as a dead one."""
        try:
            if segment.frames == 0:
                segment.path.unlink()
            elif os.fstat(segment.fd).st_size == segment.size:  # else a torn tail could not be cut off
                payload = footer_payload(segment.frames, segment.digest())
                footer = memoryview(frame(payload, self._epoch, segment.last_sequence + 1))
                if self._write_all(segment, footer) == len(footer):
                    self._sync(segment.fd)
                    segment.path.rename(segment.path.with_suffix(".seg"))
                    sync_directory(self._directory)
        except OSError as error:
            self._report("a segment could not be sealed", error)
        finally:
            os.close(segment.fd)

    def _abandon(self, segment: OpenSegment, frames: list[Frame], error: OSError) -> bool:
        """After a failed sync: cut the segment back to what is known to be stable, and write the rest elsewhere.

        The descriptor is never synced again, for the kernel may have dropped the pages and forgotten the error. Frames
        whose fate is unknown because the cut failed too count as lost.
        """
        with self._lock:
            self._report("a sync failed", error)
            if self._segment is segment:
                self._segment = None
            if segment in self._full:
                self._full.remove(segment)
            frames = frames + segment.unsynced
            try:
                os.ftruncate(segment.fd, segment.synced)
                rescue = self._new_segment()
            except OSError as cause:
                self._report("a segment had to be given up", cause)
                rescue = None
            os.close(segment.fd)
            if rescue is None:
                self._lose(frames)
                return False
            whole = self._write_frames(rescue, frames)
            self._lose(frames[whole:])
        return self._rescued(rescue, frames[:whole]) and whole == len(frames)

    def _rescued(self, rescue: OpenSegment, frames: list[Frame]) -> bool:
        """Sync and seal the segment that took over; when that fails too, its frames are lost and counted."""
        try:
            self._sync(rescue.fd)
            rescue.link()
        except OSError:
            with self._lock:
                with contextlib.suppress(OSError):
                    rescue.path.unlink()
                os.close(rescue.fd)
                self._lose(frames)
                self._retry_at = time.monotonic() + RETRY_SECONDS
            return False
        self._seal(rescue)
        return True
