"""What is reported where the kernel, the machine or a container gives less."""

import os
import platform

import pytest

from modelwright.core.errors import RefusedError
from modelwright.jail import Held, require
from modelwright.jail.confinement import FILTER, NETWORK, READS, WRITES

RULES = "landlock_create_ruleset"


def _held(answer):
    return Held(answer["level"], tuple(answer["parts"]), tuple(answer["missing"]))


@pytest.mark.parametrize(
    ("masked", "level", "missing"),
    [
        ({"mask": ["seccomp"]}, "partial", {FILTER}),
        ({"machine": "riscv64"}, "partial", {FILTER}),
        ({"mask": [RULES]}, "partial", {WRITES, READS}),
        ({"rules": 0}, "partial", {WRITES, READS}),
        ({"mask": [RULES, "seccomp"]}, "none", {WRITES, READS, FILTER}),
        ({"threads_before": 1}, "partial", {WRITES, READS, "threads that ran before are not under the file rules"}),
    ],
)
def test_a_part_that_is_not_there_is_named_and_the_level_is_what_remains(world, masked, level, missing):
    held = _held(world.try_out("strict", **masked, only=[]))
    assert held.level == level
    assert set(held.missing) - {"not root", "thread limit"} == missing  # root stays root where it could not read
    assert not missing & set(held.parts)
    with pytest.raises(RefusedError) as caught:
        require(held, "standard")
    assert all(part in caught.value.why for part in missing)


def test_a_machine_without_namespaces_is_held_by_the_rules_and_the_filter(world):
    held = _held(world.try_out("strict", mask=["unshare"], scratch_bytes=1 << 20, only=[]))
    assert held.level == "strict"
    assert NETWORK not in held.parts
    assert held.missing == ("bounded scratch",)


def test_a_machine_that_mounts_nothing_still_gives_an_empty_network(world):
    held = _held(world.try_out("strict", mask=["mount"], scratch_bytes=1 << 20, only=[]))
    assert held.level == "strict"
    assert held.missing == ("bounded scratch",)


@pytest.mark.parametrize("masked", [{"mask": ["seccomp"]}, {"machine": "riscv64"}])
def test_without_the_filter_the_file_rules_still_hold_what_they_can(world, masked):
    if platform.machine() not in {"x86_64", "aarch64"}:
        pytest.skip("no filter here anyway")
    files, *_ = world.state()
    files_of_others = ["read a file in the home", "overwrite a file"]
    answers = world.try_out("strict", **masked, only=files_of_others)["answers"]
    assert answers == dict.fromkeys(files_of_others, "EACCES")
    assert world.state()[0] == files


def test_where_the_user_cannot_be_changed_root_is_told(world):
    if os.geteuid() != 0:
        pytest.skip("only root changes its user")
    held = _held(world.try_out("strict", without=1 << 7, only=[]))
    assert held.level == "standard"
    assert held.missing == ("not root", "thread limit")
