import hashlib
import subprocess
import sys
import time

import pytest

from modelwright.adapters.counters import shared_quota
from modelwright.adapters.counters.shared_quota import SharedQuota
from modelwright.serve.quota import OwnQuota
from modelwright.testing.quota import ADA, QuotaConformance


class TestOwn(QuotaConformance):
    @pytest.fixture
    def quota(self):
        return OwnQuota()


class TestShared(QuotaConformance):
    @pytest.fixture
    def quota(self, tmp_path):
        shared = SharedQuota(tmp_path / "quota")
        yield shared
        shared.close()


ASKING = """
import pathlib, sys
from modelwright.adapters.counters.shared_quota import SharedQuota
quota = SharedQuota(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
input()
print(sum(quota.take(sys.argv[2], 100.0, 50.0) == 0.0 for _ in range(500)))
"""


def test_processes_share_one_allowance_to_the_last_use(tmp_path):
    command = [sys.executable, "-c", ASKING, str(tmp_path / "quota"), ADA]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(3)]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 3
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert sum(int(worker.communicate(timeout=60)[0]) for worker in workers) == 100


def test_a_full_table_forgets_who_was_due_first_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_quota, "SLOTS", 8)
    quota = SharedQuota(tmp_path / "quota")
    keys = [hashlib.sha256(bytes([number])).hexdigest() for number in range(9)]
    for number, key in enumerate(keys):
        assert quota.take(key, 1.0, 100.0 + number / 100) == 0.0
    assert quota.take(keys[8], 1.0, 100.1) > 0.0
    assert quota.take(keys[0], 1.0, 100.1) == 0.0
    quota.close()


def test_who_was_stopped_while_holding_the_lock_stops_nobody(tmp_path):
    quota, stopped = SharedQuota(tmp_path / "quota"), SharedQuota(tmp_path / "quota")
    assert stopped._lock()
    began = time.monotonic()
    assert quota.take(ADA, 1.0, 100.0) == 0.0
    assert time.monotonic() - began < 10
    quota.close()
    stopped.close()
