import pytest

CONTROL = {
    "read a file in the home",
    "list the home",
    "overwrite a file",
    "append to a file",
    "create a file in the home",
    "leave a symbolic link for whoever cleans up",
    "read another's environment",
    "list processes",
    "an inet socket",
    "a unix socket with a path",
    "an abstract unix socket",
    "datagrams by way of a pair of sockets",
    "run a program by a shell",
    "run a program by posix_spawn",
    "fork",
    "clone a process",
    "leave a file in /dev/shm",
    "watch the files of others",
    "memory that no limit counts",
    "be traceable again",
    "a descriptor that was not to be kept",
}
# By the rules, the filter, the limits; not there; another device; a descriptor that is closed; "for good".
REFUSALS = {"EACCES", "EPERM", "EFBIG", "ENOSYS", "ENOTSUP", "EXDEV", "EBADF", "EINVAL", "ENOENT", "ENOLCK"} | {
    "not allowed to raise maximum limit",
}


def _through(answer, *, reading=False):
    answers = answer["answers"]
    return {name for name, said in answers.items() if said == "allowed" and (reading or name not in answer["reading"])}


@pytest.mark.parametrize("user", ["own", "same"])
@pytest.mark.parametrize("level", ["strict", "standard"])
def test_no_probe_gets_out_and_the_neighbour_is_unchanged(world, level, user, request):
    identity = request.getfixturevalue("as_same_user") if user == "same" else None
    before = world.state()
    answer = world.try_out(level, user=identity)
    assert answer["level"] == level, answer["missing"]
    assert _through(answer, reading=level == "strict") == set()
    assert world.state() == before
    assert len(answer["answers"]) > 130
    assert set(answer["answers"].values()) - {"allowed"} <= REFUSALS


def test_the_same_probes_get_through_where_nothing_holds_them(world):
    answer = world.try_out("off")
    assert answer["level"] == "none"
    assert CONTROL - _through(answer, reading=True) == set()


@pytest.mark.parametrize("rules", [1, 2, 3, 4, 5])
def test_the_file_rules_of_older_kernels_hold_as_well(world, rules):
    before = world.state()
    answer = world.try_out("strict", rules=rules)
    assert answer["level"] == "strict"
    assert _through(answer, reading=True) == set()
    assert world.state() == before


def test_a_process_that_may_make_files_in_memory_may_not_run_them(world):
    answer = world.try_out("strict", memory_files=True)
    assert _through(answer) == {"memory that no limit counts"}


def test_a_scratch_in_memory_holds_nobody_less(world):
    before = world.state()
    answer = world.try_out("strict", scratch_bytes=8 << 20)
    assert _through(answer, reading=True) == set()
    assert world.state() == before
