import os
import subprocess
import sys

import pytest

from modelwright.adapters.counters import mapped
from modelwright.adapters.counters.mapped import MappedCounters, fold
from modelwright.ports.counters import added
from modelwright.testing.counters import CountersConformance

KEY = ("family", "é\"'\n", "1")
COUNTING = """
import ast, sys, time
from pathlib import Path
from modelwright.adapters.counters.mapped import MappedCounters
directory, name, times, key = sys.argv[1:]
slots = MappedCounters(Path(directory), name).slots(ast.literal_eval(key), (0.0, 0.5))
for _ in range(int(times)):
    slots[0] += 1
print("counted", flush=True)
time.sleep(60)
"""


@pytest.fixture
def killed(tmp_path):
    """``killed(name, times)``: a process that counted and was killed."""

    def run(name, times):
        command = [sys.executable, "-c", COUNTING, str(tmp_path), name, str(times), repr(KEY)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "counted\n"
            process.kill()

    return run


def total(counters):
    both = {}
    for part in counters.parts():
        both = added(both, part.values)
    return both


class TestConformance(CountersConformance):
    @pytest.fixture
    def counters(self, tmp_path):
        return MappedCounters(tmp_path, "g0")


def test_another_process_s_counts_are_seen_as_they_change(tmp_path):
    ours, theirs = MappedCounters(tmp_path, "g0"), MappedCounters(tmp_path, "g1")
    a, b = ours.slots(KEY, (1.0, 0.0)), theirs.slots(KEY, (2.0, 0.25))
    assert total(ours) == total(theirs) == {KEY: [3.0, 0.25]}
    a[0] += 2**53 - 4
    b[1] += 0.25
    assert total(ours)[KEY] == [2**53 - 1, 0.5]
    assert [part.live for part in ours.parts()] == [True, False, True]


def test_a_killed_process_s_counts_stay_and_are_no_more_its_own(tmp_path, killed):
    killed("g0", 1000)
    counters = MappedCounters(tmp_path, "g0")
    assert total(counters) == {KEY: [1000.0, 0.5]}
    assert [part.live for part in counters.parts() if part.values] == [False]


def test_folding_changes_no_sum_and_leaves_one_file_of_the_dead(tmp_path, killed):
    living = MappedCounters(tmp_path, "g1")
    living.slots(KEY, (1.0, 0.0))
    for number in range(2):
        killed("g0", 10)
        before = total(living)
        fold(tmp_path)
        assert total(living) == before == {KEY: [1.0 + 10 * (number + 1), 0.5 * (number + 1)]}
        assert len(list(tmp_path.iterdir())) == 2


def test_a_fold_that_was_killed_before_it_removed_a_file_counts_it_once(tmp_path, killed):
    killed("g0", 10)
    (dead,) = tmp_path.iterdir()
    kept = dead.read_bytes()
    fold(tmp_path)
    dead.write_bytes(kept)
    counters = MappedCounters(tmp_path, "g1")
    assert total(counters) == {KEY: [10.0, 0.5]}
    fold(tmp_path)
    assert not dead.exists()
    assert total(counters) == {KEY: [10.0, 0.5]}


def test_many_series_take_more_blocks_and_none_is_lost(tmp_path):
    counters, reader = MappedCounters(tmp_path, "g0"), MappedCounters(tmp_path, "g1")
    keys = [("family", "x" * (number % 50), str(number)) for number in range(3000)]
    slots = [counters.slots(key, [0.0] * (number % 20)) for number, key in enumerate(keys)]
    for number, each in enumerate(slots):
        for index in range(number % 20):
            each[index] += number
    assert total(reader) == {key: [float(number)] * (number % 20) for number, key in enumerate(keys)}
    assert max(path.stat().st_size for path in tmp_path.iterdir()) > 3 * mapped.BLOCK_BYTES


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("too long")])
def test_a_full_disk_stops_no_counting(tmp_path, monkeypatch, caplog, error):
    counters, reader = MappedCounters(tmp_path, "g0"), MappedCounters(tmp_path, "g1")
    before = counters.slots(("before",), (0.0,))
    long = ("x" * mapped.BLOCK_BYTES,)
    if isinstance(error, OSError):

        def full(*_):
            raise error

        monkeypatch.setattr(os, "posix_fallocate", full)
        long = ("x" * (mapped.BLOCK_BYTES - 60),)
    after = [counters.slots(long, (0.0,)), counters.slots(("after",), (0.0,))]
    for slots in (before, *after):
        slots[0] += 1
    assert total(counters) == {("before",): [1.0], long: [1.0], ("after",): [1.0]}
    assert total(reader) == {("before",): [1.0]}
    assert caplog.text.count("in memory") == 1


def test_a_directory_that_cannot_be_made_stops_no_counting(tmp_path):
    (tmp_path / "file").write_text("")
    counters = MappedCounters(tmp_path / "file" / "metrics", "g0")
    counters.slots(KEY, (0.0,))[0] += 1
    assert total(counters) == {KEY: [1.0]}


@pytest.mark.parametrize("kept", [0, 7, 16, 100])
def test_a_file_that_a_power_cut_left_short_is_read_as_far_as_it_goes(tmp_path, kept):
    writer = MappedCounters(tmp_path, "g0")
    for number in range(5):
        writer.slots(("family", str(number)), (1.0,))
    (path,) = tmp_path.iterdir()
    (tmp_path / "short").write_bytes(path.read_bytes()[:kept])
    seen = total(MappedCounters(tmp_path, "g1"))
    assert seen[("family", "4")] == [1.0]
    fold(tmp_path)
    assert not (tmp_path / "short").exists()
