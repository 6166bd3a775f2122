import os

import pytest

from modelwright.processes.cores import cores, share


@pytest.fixture
def groups(tmp_path):
    """``groups(own, files)``: a cgroup tree, and the file that says which group is ours."""

    def make(own, files):
        root = tmp_path / "cgroup"
        root.mkdir()
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        (tmp_path / "own").write_text(own)
        return root, tmp_path / "own"

    return make


def test_without_a_quota_every_core_that_may_be_used_counts(groups):
    assert cores(*groups("0::/", {})) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}),
        ("0::/pod/box\n", {"pod/cpu.max": "50000 100000\n", "pod/box/cpu.max": "max 100000\n"}),
        ("0::/pod\n", {"pod/cpu.max": "20000 100000\n"}),
        (
            "4:memory:/m\n1:cpu,cpuacct:/pod\n",
            {"cpu/pod/cpu.cfs_quota_us": "90000", "cpu/pod/cpu.cfs_period_us": "100000"},
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "1000\n", "cpu/cpu.cfs_period_us": "100000\n"}),
    ],
)
def test_the_lowest_quota_of_the_groups_above_counts_and_never_below_one(groups, own, files):
    assert cores(*groups(own, files)) == 1


@pytest.mark.parametrize("content", ["max 100000", "", "x y", "-1 100000", "100000 0"])
def test_no_quota_or_an_unreadable_one_limits_nothing(groups, content):
    assert cores(*groups("0::/pod\n", {"pod/cpu.max": content})) == len(os.sched_getaffinity(0))


def test_gateways_share_the_cores_and_each_has_at_least_one():
    assert share(1) == cores()
    assert share(10_000) == 1
