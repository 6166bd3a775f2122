"""Power loss, tried for real: an ext4 image under a loop mount, copied while the writer is stopped.

What the copy holds is what the platter would hold. Needs root, mkfs.ext4 and loop mounts; skipped where there are none.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from modelwright.record.log import DuckLog
from modelwright.testing.record_conformance import SIGNATURE

# Says `a <n>` when prediction n was acknowledged, and `s <n>` when a sync that began after n was acknowledged is done.
WRITER = """
import itertools, os, sys, time
from pathlib import Path
from modelwright.record.writer import SegmentWriter
from modelwright.testing.record_conformance import prediction
acknowledged = -1
def sync(fd):
    covered, current = acknowledged, writer._segment
    os.fdatasync(fd)
    if current is not None and current.fd == fd:  # else an older segment, of which this claims nothing
        os.write(1, b"s %d\\n" % covered)
writer = SegmentWriter(Path(sys.argv[1]), writer_id="gw", mode=sys.argv[2], segment_bytes=200_000, sync=sync)
for n in itertools.count():
    writer.append(prediction(f"{n:08d}"))
    assert writer.flush()
    acknowledged = n
    os.write(1, b"a %d\\n" % n)
    time.sleep(0.0002)
"""


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, timeout=60)


@contextmanager
def mounted(image, at):
    at.mkdir(exist_ok=True)
    run("mount", "-o", "loop", str(image), str(at))
    try:
        yield at
    finally:
        run("umount", str(at))


@pytest.fixture
def image(tmp_path):
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("a power loss is tried on a loop-mounted ext4 image: needs root and mkfs.ext4")
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    run("mkfs.ext4", "-q", "-F", str(image))
    try:
        with mounted(image, tmp_path / "probe"):
            pass
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a power loss is tried on a loop-mounted ext4 image: {error.stderr.decode().strip()}")
    return image


def lose_power(image, tmp_path, mode, seconds):
    """What was said up to the power loss, and the ids that the log on the surviving disk holds."""
    survived, said = tmp_path / "survived.img", tmp_path / "said"
    with mounted(image, tmp_path / "live") as live, said.open("wb") as out:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(live / "log"), mode], stdout=out)
        try:
            while said.stat().st_size == 0:
                assert writer.poll() is None
                time.sleep(0.005)
            time.sleep(seconds)
            writer.send_signal(signal.SIGSTOP)
            heard = said.read_bytes()
            shutil.copyfile(image, survived)
        finally:
            writer.kill()
            writer.wait()
    words = [line.split() for line in heard.split(b"\n")[:-1]]
    acknowledged = [int(n) for what, n in words if what == b"a"]
    synced = max((int(n) for what, n in words if what == b"s"), default=-1)
    with mounted(survived, tmp_path / "after") as after:
        log = DuckLog(after / "log")
        found = [int(name) for name in log.joined("m", signature=SIGNATURE)["prediction_id"]]
        corrupt = log.counts()["corrupt_segments"]
    return acknowledged[-1], synced, sorted(found), corrupt


@pytest.mark.parametrize("trial", range(3))
def test_batched_loses_only_the_newest_end_behind_the_last_sync(image, tmp_path, trial):
    seconds = random.Random(trial).uniform(0.3, 0.7)
    last, synced, found, corrupt = lose_power(image, tmp_path, "batched", seconds)
    print(f"acknowledged {last + 1}, synced {synced + 1}, survived {len(found)} in {seconds:.2f} s")
    assert synced > 0
    assert found == list(range(len(found)))
    assert len(found) > synced
    assert corrupt == 0


@pytest.mark.parametrize("trial", range(3))
def test_sync_mode_loses_nothing_acknowledged(image, tmp_path, trial):
    last, _, found, corrupt = lose_power(image, tmp_path, "sync", random.Random(trial).uniform(0.3, 0.7))
    assert last > 0
    assert found == list(range(len(found)))
    assert len(found) > last
    assert corrupt == 0
