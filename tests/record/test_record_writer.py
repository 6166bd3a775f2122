import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from modelwright.core.errors import BadInputError, UnavailableError
from modelwright.record.compact import compact
from modelwright.record.log import DuckLog
from modelwright.record.segments import listing
from modelwright.record.writer import SegmentWriter
from modelwright.testing.record_conformance import SIGNATURE, prediction, truth


class Disk:
    """A disk whose room and health the test decides. The bytes it takes are really written."""

    def __init__(self, room=2**30):
        self.room, self.failures, self.syncs = room, 0, 0

    def write(self, fd, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = os.write(fd, data[: min(len(data), self.room)])
        self.room -= taken
        return taken

    def sync(self, fd):
        self.syncs += 1
        if self.failures > 0:
            self.failures -= 1
            raise OSError(errno.EIO, "Input/output error")
        os.fdatasync(fd)

    def writer(self, directory, **options):
        return SegmentWriter(directory, writer_id="gw", write=self.write, sync=self.sync, **options)


def read_ids(directory):
    return DuckLog(directory).joined("m", signature=SIGNATURE)["prediction_id"].tolist()


def log_one(writer, name, rows=1):
    writer.append(prediction(name, rows=rows))
    return writer.flush()


def wait_until_usable(writer, name):
    deadline = time.monotonic() + 10
    while not log_one(writer, name):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_segments_are_private_and_sealed_at_their_size(tmp_path):
    directory = tmp_path / "log"
    writer = SegmentWriter(directory, writer_id="gw", segment_bytes=1000)
    for n in range(20):
        assert log_one(writer, f"{n:02d}")
    writer.close()
    assert directory.stat().st_mode & 0o777 == 0o700
    segments = list(directory.iterdir())
    assert len(segments) > 3
    assert {path.suffix for path in segments} == {".seg"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in segments)
    assert sorted(read_ids(directory)) == [f"{n:02d}" for n in range(20)]


def test_a_second_start_of_a_writer_leaves_the_first_ones_segments_alone(tmp_path):
    for name in ("a", "b", "c"):
        writer = SegmentWriter(tmp_path, writer_id="gw")
        assert log_one(writer, name)
        writer.close()
        compact(tmp_path)
    assert sorted(read_ids(tmp_path)) == ["a", "b", "c"]


def test_a_writer_that_logged_nothing_leaves_nothing(tmp_path):
    SegmentWriter(tmp_path, writer_id="gw").close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a-b", "x" * 65])
def test_a_writer_id_that_cannot_be_a_file_name_is_refused(tmp_path, name):
    with pytest.raises(BadInputError) as caught:
        SegmentWriter(tmp_path, writer_id=name)
    assert caught.value.code == "record.bad-writer"


def test_a_directory_that_cannot_be_made_is_reported_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError) as caught:
        SegmentWriter(tmp_path / "file" / "log", writer_id="gw")
    assert caught.value.code == "record.unwritable"


def test_batched_mode_syncs_soon_after_the_flush_and_sync_mode_before_its_end(tmp_path):
    batched, synced = Disk(), Disk()
    writer = synced.writer(tmp_path / "sync", mode="sync")
    assert log_one(writer, "a")
    assert synced.syncs == 1
    writer.close()
    done = threading.Event()

    def sync(fd):
        batched.sync(fd)
        done.set()

    writer = SegmentWriter(tmp_path / "batched", writer_id="gw", sync=sync)
    assert log_one(writer, "a")
    assert done.wait(30)
    writer.close()


@pytest.mark.parametrize("mode", ["batched", "sync"])
@pytest.mark.parametrize("room", [0, 10, 16, 100, 300, 700, 1500])
def test_a_full_disk_loses_exactly_what_the_gap_record_says(tmp_path, mode, room):
    disk = Disk(room)
    writer = disk.writer(tmp_path, mode=mode)
    for n in range(12):
        writer.append(prediction(str(n), rows=3))
        if n % 4 == 3:
            writer.flush()
    lost = writer.unlogged
    assert lost > 0
    assert not writer.healthy
    disk.room = 2**30
    wait_until_usable(writer, "after")
    assert writer.healthy
    counts = DuckLog(tmp_path).counts()
    assert counts["unlogged"] == writer.unlogged
    since = writer.unlogged - lost  # rows of 1 that were tried while waiting for the disk
    assert counts["predictions"] + counts["unlogged"] == 12 * 3 + since + 1
    writer.close()
    compact(tmp_path)
    after = DuckLog(tmp_path).counts()
    assert after == counts
    assert after["corrupt_segments"] == 0


def test_after_a_failed_sync_the_records_are_written_again_elsewhere(tmp_path):
    disk = Disk()
    writer = disk.writer(tmp_path, mode="sync")
    assert log_one(writer, "a")
    disk.failures = 1
    assert log_one(writer, "b")
    assert log_one(writer, "c")
    writer.close()
    assert sorted(read_ids(tmp_path)) == ["a", "b", "c"]
    assert DuckLog(tmp_path).counts()["unlogged"] == 0


def test_a_disk_that_never_syncs_counts_every_row_and_keeps_none_twice(tmp_path):
    disk = Disk()
    writer = disk.writer(tmp_path, mode="sync")
    assert log_one(writer, "a")
    disk.failures = 10**6
    assert not log_one(writer, "b", rows=2)
    assert not log_one(writer, "c", rows=3)
    assert writer.unlogged == 5
    disk.failures = 0
    wait_until_usable(writer, "d")
    writer.close()
    counts = DuckLog(tmp_path).counts()
    assert read_ids(tmp_path)[0] == "a"
    assert counts["unlogged"] == writer.unlogged
    assert counts["predictions"] == 2


def test_short_writes_and_interruptions_are_carried_on(tmp_path):
    calls = iter(range(10**6))

    def write(fd, data):
        if next(calls) % 3 == 1:
            raise InterruptedError
        return os.write(fd, data[:7])

    writer = SegmentWriter(tmp_path, writer_id="gw", write=write)
    assert log_one(writer, "a")
    writer.close()
    assert read_ids(tmp_path) == ["a"]


def test_a_lost_truth_makes_the_flush_fail_without_counting_as_a_prediction(tmp_path):
    disk = Disk(room=0)
    writer = disk.writer(tmp_path)
    writer.append(truth("a", 1))
    assert not writer.flush()
    assert writer.unlogged == 0
    writer.close()


WRITER = """
import itertools, os, sys
from pathlib import Path
from modelwright.record.writer import SegmentWriter
from modelwright.testing.record_conformance import prediction
writer = SegmentWriter(Path(sys.argv[1]), writer_id="gw", segment_bytes=40_000)
for first in itertools.count(0, 10):
    names = [f"{sys.argv[2]}-{first + n}" for n in range(10)]
    for name in names:
        writer.append(prediction(name, rows=1 + first % 3))
    assert writer.flush()
    os.write(1, "".join(f"{name}\\n" for name in names).encode())
"""


def kill_at_random(directory, trial, chance):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(trial)], stdout=subprocess.PIPE, bufsize=0
    )
    os.set_blocking(process.stdout.fileno(), False)
    acknowledged, end = b"", None
    while end is None or time.monotonic() < end:
        with contextlib.suppress(BlockingIOError):
            acknowledged += os.read(process.stdout.fileno(), 2**20)
        if acknowledged and end is None:
            end = time.monotonic() + chance.uniform(0.0, 0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.set_blocking(process.stdout.fileno(), True)
    acknowledged += process.stdout.read()
    process.stdout.close()
    return acknowledged.split(b"\n")[:-1]


def test_twenty_kills_lose_no_acknowledged_prediction_and_leave_no_half_record(tmp_path):
    chance, acknowledged = random.Random(7), []
    for trial in range(20):
        acknowledged += kill_at_random(tmp_path, trial, chance)
        if trial % 5 == 4:
            compact(tmp_path)
    log = DuckLog(tmp_path)
    table = log.joined("m", signature=SIGNATURE)
    assert {name.decode() for name in acknowledged} <= set(table["prediction_id"].tolist())
    assert log.counts()["corrupt_segments"] == 0
    for name, row in zip(table["prediction_id"], table["row"], strict=True):
        assert row <= (int(name.split("-")[1]) // 10 * 10) % 3
    compact(tmp_path)
    assert listing(tmp_path).raw == {}
    assert len(DuckLog(tmp_path).joined("m", signature=SIGNATURE)) == len(table)


def test_importing_the_writer_pulls_in_none_of_the_readers():
    code = "import sys, modelwright.record.writer; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"duckdb", "pandas", "sqlalchemy", "sklearn", "scipy", "starlette", "dbos"} & set(loaded)
