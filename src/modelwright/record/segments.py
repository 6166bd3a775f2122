"""The log's directory: which segments there are, and reading one, from where reading last stopped.

``<stem>.open`` is being written, or was when its writer died; ``<stem>.seg`` is sealed; ``<stem>.bad`` is damaged and
kept for a person to look at; ``parquet/<stem>/`` is a compacted segment, which wins over any raw file of its stem.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from modelwright.core.errors import CorruptError
from modelwright.record.chunks import Decoded, prediction_chunks, truth_columns
from modelwright.record.frames import FRAME_BYTES, HEADER_BYTES, Scan, read_header, scan
from modelwright.record.payload import Footer, Gap, Prediction, Truth, parse

COMPACTED = "parquet"
_LISTINGS = 5
_NAME = re.compile(r"([A-Za-z0-9_.]{1,64}-(\d{1,10})-\d{6,})\.(open|seg|bad)")


@dataclass(frozen=True, slots=True)
class Listing:
    """Raw segment files by stem, without those that are compacted, and the directories of those that are."""

    raw: dict[str, Path]
    compacted: dict[str, Path]


def listing(directory: Path) -> Listing:
    """Every segment exactly once.

    A segment is compacted by the appearance of its directory and only then removed, so the raw files are listed first.
    A listing may miss a file that is renamed meanwhile, so files are listed again until no new name turns up; a name
    that is gone by now is found out when it is opened.
    """
    names, more = _names(directory), True
    for _ in range(_LISTINGS):
        if not more:
            break
        again = _names(directory)
        names, more = names | again, not again <= names
    compacted = {name: directory / COMPACTED / name for name in _names(directory / COMPACTED) if name[0] != "."}
    raw = {}
    for name in sorted(names):
        match = _NAME.fullmatch(name)
        if match and match[1] not in compacted:
            raw[match[1]] = directory / name
    return Listing(raw, dict(sorted(compacted.items())))


def _names(directory: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return frozenset()


def read_segment(segment: RawSegment, path: Path) -> None:
    """Take in what a segment holds beyond what was read, also when it was sealed since it was listed.

    Raises:
        FileNotFoundError: it was compacted, or put aside.
    """
    try:
        segment.read(path)
    except FileNotFoundError:
        segment.read(path.with_suffix(".seg"))


def epoch_in(path: Path) -> int:
    """The epoch in a segment's name."""
    match = _NAME.fullmatch(path.name)
    return int(match[2]) if match else 0


@dataclass(slots=True)
class RawSegment:
    """One raw segment as read so far; :meth:`read` takes in what was appended since."""

    decoded: Decoded = field(default_factory=Decoded)
    cursor: int = 0
    last_sequence: int = -1
    frames: int = 0
    damaged: int = 0
    footer: Footer | None = None
    footer_at: int = 0
    ended: bool = False
    header_holds: bool = True

    def read(self, path: Path) -> None:
        """Decode what lies behind the cursor. Raises FileNotFoundError when the segment was moved meanwhile."""
        sealed = path.suffix != ".open"
        if self.ended or (not sealed and path.stat().st_size <= max(self.cursor, HEADER_BYTES)):
            return
        with path.open("rb") as file:
            file.seek(self.cursor)
            data = file.read()
        start = 0
        if self.cursor == 0:
            start = HEADER_BYTES
            try:
                self.header_holds = read_header(data) == epoch_in(path)
            except CorruptError:
                self.header_holds = False
        found = scan(data, epoch_in(path), start=start, after=self.last_sequence)
        self._take(data, found)
        self.cursor += found.end
        self.last_sequence = found.last_sequence
        self.damaged += len(found.damaged) + (sealed and found.end < len(data))
        self.ended = sealed

    def _take(self, data: bytes, found: Scan) -> None:
        part, predictions, truths = Decoded(), [], []
        for start, stop in found.spans:
            try:
                payload = parse(data[start:stop])
            except CorruptError:
                part.unreadable += 1
                continue
            if type(payload) is Prediction:
                predictions.append((_sequence(data, start), payload))
            elif type(payload) is Truth:
                truths.append((_sequence(data, start), payload))
            elif type(payload) is Gap:
                part.unlogged += payload.unlogged
            elif type(payload) is Footer:
                self.footer, self.footer_at = payload, self.cursor + start - FRAME_BYTES
                self.frames -= 1
        self.frames += len(found.spans)
        part.chunks = prediction_chunks(predictions)
        part.truths = [truth_columns(truths)] if truths else []
        self.decoded.add(part)

    @property
    def corrupt(self) -> bool:
        """True when anything in it cannot be read, or a sealed one does not hold what its footer says."""
        if self.damaged or self.decoded.unreadable or not self.header_holds:
            return True
        return self.ended and (self.footer is None or self.footer.count != self.frames)

    @property
    def lost(self) -> int:
        """Frames known to be missing or unreadable; at least the number of damaged places where no footer tells."""
        missing = self.footer.count - self.frames if self.footer else self.damaged
        return max(missing, 0) + self.decoded.unreadable


def _sequence(data: bytes, payload_start: int) -> int:
    return int.from_bytes(data[payload_start - 8 : payload_start], "little")


def digest_holds(path: Path, segment: RawSegment) -> bool:
    """True when a sealed segment's bytes before its footer match the footer's SHA-256."""
    if segment.footer is None:
        return False
    with path.open("rb") as file:
        before = file.read(segment.footer_at)
    return hashlib.sha256(before).digest() == segment.footer.digest
