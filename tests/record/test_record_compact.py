import fcntl
import os
import random
import shutil
import subprocess
import sys
import time

import pytest

from modelwright.record.compact import compact
from modelwright.record.log import DuckLog
from modelwright.record.segments import listing
from modelwright.record.writer import SegmentWriter
from modelwright.testing.record_conformance import SIGNATURE, prediction, truth


def fill(directory, count=12, **options):
    writer = SegmentWriter(directory, writer_id="gw", segment_bytes=1000, **options)
    for n in range(count):
        writer.append(prediction(f"{n:02d}"))
        writer.append(truth(f"{n:02d}", n))
        assert writer.flush()
    return writer


def damage(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def state(directory):
    log = DuckLog(directory)
    table = log.joined("m", signature=SIGNATURE)
    return table["prediction_id"].tolist(), table["truth"].tolist(), log.counts()


def test_compacting_changes_nothing_that_is_read(tmp_path):
    fill(tmp_path).close()
    before = state(tmp_path)
    assert compact(tmp_path) > 1
    assert listing(tmp_path).raw == {}
    assert state(tmp_path) == before
    assert compact(tmp_path) == 0


def test_a_live_writers_segment_is_left_alone(tmp_path):
    writer = fill(tmp_path, count=1)
    assert compact(tmp_path) == 0
    assert len(state(tmp_path)[0]) == 1
    writer.close()
    assert compact(tmp_path) == 1


def test_a_dead_writers_segment_is_compacted_up_to_its_torn_tail(tmp_path):
    fill(tmp_path, count=1).close()
    sealed = next(tmp_path.glob("*.seg"))
    data = sealed.read_bytes()
    epoch = int(sealed.stem.split("-")[1])
    torn = sealed.with_name(f"gone-{epoch}-000001.open")
    torn.write_bytes(data[:-30])  # into the footer, as a power loss may leave it
    sealed.unlink()
    before = state(tmp_path)
    assert before[2]["corrupt_segments"] == 0
    assert before[0] == ["00"]
    assert compact(tmp_path) == 1
    assert state(tmp_path) == before


def test_a_raw_segment_beside_its_parquet_is_not_read_twice_and_is_swept_away(tmp_path):
    fill(tmp_path / "log").close()
    before = state(tmp_path / "log")
    shutil.copytree(tmp_path / "log", tmp_path / "kept")
    compact(tmp_path / "log")
    for segment in (tmp_path / "kept").glob("*.seg"):
        shutil.copy(segment, tmp_path / "log")
    assert state(tmp_path / "log") == before
    assert compact(tmp_path / "log") == 0
    assert state(tmp_path / "log") == before
    assert list((tmp_path / "log").glob("*.seg")) == []


COMPACTOR = """
import sys
from pathlib import Path
from modelwright.record.compact import compact
print("ready", flush=True)
compact(Path(sys.argv[1]))
"""


def test_a_compactor_killed_at_random_neither_loses_nor_doubles_a_row(tmp_path):
    fill(tmp_path, count=120).close()
    before, chance = state(tmp_path), random.Random(7)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", COMPACTOR, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0.0, 0.1))
        process.kill()
        process.wait()
        process.stdout.close()
        assert state(tmp_path) == before
    compact(tmp_path)
    assert state(tmp_path) == before
    assert listing(tmp_path).raw == {}


def test_a_half_made_parquet_directory_is_not_read_and_is_made_again(tmp_path):
    fill(tmp_path, count=2).close()
    before = state(tmp_path)
    for stem in listing(tmp_path).raw:
        (tmp_path / "parquet" / f".{stem}").mkdir(parents=True)
        (tmp_path / "parquet" / f".{stem}" / "index.json").write_text("{")
    assert state(tmp_path) == before
    compact(tmp_path)
    assert state(tmp_path) == before


def test_two_compactors_do_not_meet(tmp_path):
    fill(tmp_path, count=2).close()
    with (tmp_path / "compact.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert compact(tmp_path) == 0
    assert compact(tmp_path) == 1


def test_a_log_that_watches_a_compaction_sees_every_row_once(tmp_path):
    writer = fill(tmp_path)
    log = DuckLog(tmp_path)
    seen = log.counts()["predictions"]
    compact(tmp_path)
    assert log.counts()["predictions"] == seen == 12
    writer.append(prediction("more"))
    writer.close()
    assert log.counts()["predictions"] == 13
    compact(tmp_path)
    assert log.counts()["predictions"] == 13


def test_a_damaged_sealed_segment_is_put_aside_reported_and_read_as_far_as_it_goes(tmp_path):
    fill(tmp_path).close()
    whole = state(tmp_path)[0]
    damaged = sorted(tmp_path.glob("*.seg"))[1]
    damage(damaged, 100)
    for _ in range(2):
        names, _, counts = state(tmp_path)
        assert counts["corrupt_segments"] == 1
        assert counts["lost_records"] == 1
        assert len(names) == len(whole) - 1
        compact(tmp_path)
    assert damaged.with_suffix(".bad").exists()
    assert not damaged.exists()


@pytest.mark.parametrize("position", [0, 7, 9, 14, -1, -10, -40])
def test_damage_to_header_or_footer_is_found_too(tmp_path, position):
    fill(tmp_path, count=1).close()
    damage(next(tmp_path.glob("*.seg")), position)
    assert state(tmp_path)[2]["corrupt_segments"] == 1
    assert state(tmp_path)[0] == ["00"]
    assert compact(tmp_path) == 0
    assert state(tmp_path)[2]["corrupt_segments"] == 1


def test_a_sealed_segment_that_was_cut_off_is_reported(tmp_path):
    fill(tmp_path, count=1).close()
    path = next(tmp_path.glob("*.seg"))
    os.truncate(path, path.stat().st_size - 60)
    assert state(tmp_path)[2]["corrupt_segments"] == 1
