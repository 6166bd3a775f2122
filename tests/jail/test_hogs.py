"""Whoever takes all of something gets what it was given, and the neighbours keep theirs."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from modelwright.jail import available


@pytest.fixture
def in_memory():
    if "bounded scratch" not in available().parts:
        pytest.skip("no file system in memory here")


def _neighbours_are_well():
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert subprocess.run(["true"], check=False).returncode == 0


def test_a_bomb_of_processes_gets_none(hold):
    code = """
import os
got = 0
for _ in range(10_000):
    try: process = os.fork()
    except PermissionError: continue
    if process == 0: os._exit(0)
    got += 1
print(got)
"""
    status, said, _ = hold(code)
    assert (status, said) == (0, ["0"])


def test_a_bomb_of_threads_gets_what_was_given_and_neighbours_start_theirs(hold):
    code = """
import os, threading
stop, got = threading.Event(), 0
try:
    for _ in range(100_000):
        threading.Thread(target=stop.wait, daemon=True).start()
        got += 1
except RuntimeError: pass
print(got, 'thread limit' in held.parts, flush=True)
os._exit(0)
"""
    status, (got, limited), _ = hold(code, threads=64)
    _neighbours_are_well()
    assert status == 0
    if limited == "True" and ("network namespace" in available().parts or os.geteuid() == 0):
        assert 60 <= int(got) <= 64  # counted for this process alone


def test_a_memory_hog_gets_an_error_for_what_is_over_its_limit(hold):
    code = """
import mmap
got = []
for act in (lambda: bytearray(2**30), lambda: mmap.mmap(-1, 2**30), lambda: [bytearray(2**20) for _ in range(2**10)]):
    try: act()
    except (MemoryError, OSError) as error: got.append(type(error).__name__)
print(*got)
"""
    status, said, _ = hold(code, memory_bytes=2**29)
    assert (status, said) == (0, ["MemoryError", "OSError", "MemoryError"])


def test_whoever_burns_the_processor_is_ended_by_its_limit(hold):
    status, said, _ = hold("print('starts', flush=True)\nwhile True: pass", cpu_seconds=1)
    assert said == ["starts"]
    assert -status in {signal.SIGXCPU, signal.SIGKILL}


def test_threads_burn_the_same_second_together(hold):
    code = """
import hashlib, threading
for _ in range(4): threading.Thread(target=lambda: [hashlib.sha256(bytes(2**20)) for _ in iter(int, 1)]).start()
"""
    status, _, _ = hold(code, cpu_seconds=1)
    assert -status in {signal.SIGXCPU, signal.SIGKILL}


@pytest.mark.usefixtures("in_memory")
def test_whoever_fills_the_disk_fills_a_scratch_of_a_stated_size_and_nothing_else(hold):
    code = """
import os
written = 0
try:
    for name in range(10_000):
        with open(str(name), 'wb') as file: written += file.write(bytes(2**16))
except OSError as error: print(error.errno, written <= 2**22, os.statvfs('.').f_bfree)
"""
    status, said, scratch = hold(code, scratch_bytes=2**22)
    assert (status, said) == (0, ["28", "True", "0"])
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("in_memory")
def test_whoever_makes_empty_files_runs_out_of_them(hold):
    code = """
made = 0
try:
    for name in range(1_000_000):
        open(str(name), 'wb').close()
        made += 1
except OSError as error: print(error.errno, made <= 1024)
"""
    status, said, _ = hold(code, scratch_bytes=2**22)
    assert (status, said) == (0, ["28", "True"])


def test_files_that_were_removed_and_are_still_open_are_few_and_of_limited_size(hold):
    code = """
kept = []
try:
    while True: kept.append(open('same', 'wb'))
except OSError as error: print(error.errno, len(kept) < 32)
try:
    kept[0].truncate(2**30)
except OSError as error: print(error.errno)
"""
    status, said, _ = hold(code, open_files=32)
    assert (status, said) == (0, ["24", "True", "27"])


def test_an_abort_is_seen_as_one(hold):
    status, _, _ = hold("import os; os.abort()")
    assert status == -signal.SIGABRT


def test_the_environment_of_a_held_process_has_nothing_of_ours(tmp_path, monkeypatch):
    from modelwright.jail import environment

    monkeypatch.setenv("SECRET_TOKEN", "planted")
    given = environment(tmp_path, {"MORE": "1"})
    assert "SECRET_TOKEN" not in given
    assert given["HOME"] == given["TMPDIR"] == str(tmp_path)
    assert given["MORE"] == "1"
    seen = subprocess.run(
        [sys.executable, "-I", "-c", "import os; print(sorted(os.environ))"],
        env=given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "SECRET" not in seen.stdout
