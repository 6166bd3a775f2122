"""A full house of connections leaves files for the prediction log."""

import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from modelwright.processes.descriptors import room_for

print(room_for(1000), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "room", "raised"),
    [(256, 5000, 1000, 2128), (256, 1128, 500, 1128), (4000, 5000, 1000, 4000), (64, 100, 25, 100)],
)
def test_the_limit_is_raised_as_far_as_it_may_and_connections_are_fewer_where_it_may_not(soft, hard, room, raised):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )
    assert done.stdout.split() == [str(room), str(raised), str(hard)]
