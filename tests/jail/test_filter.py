"""The program that the kernel runs for every call, run here: for both architectures, whatever this machine is."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.jail import calls
from modelwright.jail.seccomp import Allowed, filter_program

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
OURS = 4711
MACHINES = sorted(calls.ARCHITECTURES)
ARGUMENT = st.integers(0, 2**64 - 1)


def judge(program, architecture, number, arguments=()):
    """Classic BPF over ``seccomp_data``: number, architecture, instruction pointer, six arguments."""
    given = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *given)
    steps = list(struct.iter_unpack("<HBBI", program))
    at = value = 0
    while True:
        code, yes, no, constant = steps[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, constant)
        elif code == 0x06:
            return constant
        elif code == 0x54:
            value &= constant
        else:
            holds = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[code]
            at += yes if holds else no


def answer(machine, name, *arguments, **allowed):
    number = calls.number(name, machine)
    if number is None:
        return None
    program = filter_program(machine, OURS, Allowed(**allowed))
    said = judge(program, calls.ARCHITECTURES[machine][1], number, arguments)
    return "allowed" if said == ALLOW else errno.errorcode[said & 0xFFFF] if said & ERRNO == ERRNO else "killed"


@pytest.mark.parametrize("machine", MACHINES)
@given(arguments=st.lists(ARGUMENT, min_size=6, max_size=6))
def test_what_is_denied_is_refused_whatever_its_arguments(machine, arguments):
    program = filter_program(machine, OURS, Allowed())
    column, architecture = calls.ARCHITECTURES[machine]
    for numbers in (calls.DENIED | calls.MEMORY_FILES).values():
        if numbers[column] is not None:
            assert judge(program, architecture, numbers[column], arguments) == ERRNO | errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(0, 2**32 - 1))
def test_every_other_call_is_allowed_and_newer_ones_do_not_exist(machine, number):
    program = filter_program(machine, OURS, Allowed())
    column, architecture = calls.ARCHITECTURES[machine]
    known = {numbers[column] for numbers in (calls.DENIED | calls.MEMORY_FILES | calls.JUDGED).values()}
    said = judge(program, architecture, number)
    if number >= 2**30 and machine == "x86_64":
        assert said == KILL  # the calls of the x32 interface
    elif number >= calls.FIRST_UNKNOWN:
        assert said == ERRNO | errno.ENOSYS
    elif number not in known:
        assert said == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_end_the_process(machine):
    program = filter_program(machine, OURS, Allowed())
    for architecture in (
        0x40000003,
        0,
        *(found for name, (_, found) in calls.ARCHITECTURES.items() if name != machine),
    ):
        assert judge(program, architecture, 1) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_are_judged_by_their_arguments(machine):
    thread, process, pair = 0x3D0F00, 17, (1, 1 | 0o2000000)
    assert answer(machine, "clone", thread) == "allowed"
    assert answer(machine, "clone", process) == answer(machine, "clone", 0x10000000 | process) == "EPERM"
    assert answer(machine, "clone3", 1, 88) == "ENOSYS"
    assert answer(machine, "tgkill", OURS, OURS, 6) == "allowed"
    assert answer(machine, "tgkill", OURS + 1, OURS + 1, 9) == "EPERM"
    assert answer(machine, "socketpair", *pair) == "allowed"
    assert answer(machine, "socketpair", 1, 2) == answer(machine, "socketpair", 2, 1) == "EPERM"
    assert answer(machine, "fcntl", 3, 3) == answer(machine, "ioctl", 3, 0x5413) == "allowed"
    assert answer(machine, "fcntl", 3, 8) == answer(machine, "ioctl", 3, 0x5412) == "EPERM"
    assert answer(machine, "ioctl", 3, 0xFFFFFFFF00005412) == "EPERM"  # the kernel looks at the lower half only
    assert answer(machine, "prlimit64", 0, 7) == answer(machine, "sched_setaffinity", 0) == "allowed"
    assert answer(machine, "prlimit64", 1, 7) == answer(machine, "sched_setaffinity", 1) == "EPERM"
    for name, arguments in (("flock", (3, 1)), ("fcntl", (3, 6)), ("fcntl", (3, 37))):
        assert answer(machine, name, *arguments) == "ENOLCK"
        assert answer(machine, name, *arguments, locks=True) == "allowed"
    assert answer(machine, "prctl", 15) == "allowed"
    assert answer(machine, "prctl", 4, 1) == answer(machine, "prctl", 1, 0) == "EPERM"
    assert answer(machine, "fallocate", 3, 0, 0, 9) == "allowed"
    assert answer(machine, "fallocate", 3, 1, 0, 9) == "ENOTSUP"
    assert answer(machine, "memfd_create", memory_files=True) == "allowed"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "at"), [("open", 1), ("openat", 2)])
def test_truncation_is_refused_where_the_file_rules_do_not_cover_it(machine, name, at):
    read, write, truncate = 0o0, 0o2, 0o1000
    if calls.number(name, machine) is None:
        return
    for flags, covered, said in (
        (read | truncate, False, "EPERM"),
        (write | truncate, False, "allowed"),
        (read, False, "allowed"),
        (read | truncate, True, "allowed"),
    ):
        arguments = [0] * at + [flags]
        assert answer(machine, name, *arguments, truncation=covered) == said
    assert answer(machine, "truncate") == "EPERM"
    assert answer(machine, "truncate", truncation=True) == "allowed"
    assert answer(machine, "openat2") == "ENOSYS"


@pytest.mark.parametrize("machine", MACHINES)
def test_no_call_is_in_the_tables_twice_and_none_is_unknown(machine):
    column, _ = calls.ARCHITECTURES[machine]
    numbers = [found[column] for found in (calls.DENIED | calls.MEMORY_FILES | calls.JUDGED).values()]
    present = [number for number in numbers if number is not None]
    assert len(present) == len(set(present))
    assert max(present) < calls.FIRST_UNKNOWN
