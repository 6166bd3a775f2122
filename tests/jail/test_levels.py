import subprocess
import sys

import pytest

from modelwright.core.errors import RefusedError
from modelwright.jail import Held, available, require
from modelwright.jail.confinement import STANDARD, STRICT, judge


def test_a_level_is_what_all_its_parts_make_and_the_rest_is_named():
    assert judge("strict", STRICT).level == "strict"
    assert judge("strict", STANDARD) == Held("standard", STANDARD, STRICT[len(STANDARD) :])
    assert judge("standard", STANDARD[:-1]) == Held("partial", STANDARD[:-1], STANDARD[-1:])
    assert judge("strict", STANDARD[:2]).level == "none"
    assert judge("off", STANDARD[:1]) == Held("none", STANDARD[:1], ())


@pytest.mark.parametrize(("held", "level"), [("strict", "strict"), ("strict", "standard"), ("partial", "off")])
def test_whoever_asks_for_no_more_than_is_held_is_served(held, level):
    require(Held(held, (), ()), level)


def test_whoever_asks_for_more_than_is_held_is_refused_with_what_is_missing():
    with pytest.raises(RefusedError) as caught:
        require(Held("partial", ("a",), ("seccomp",)), "standard")
    assert caught.value.code == "jail.level-unavailable"
    assert "seccomp" in caught.value.why
    assert caught.value.details["level"] == "partial"
    assert caught.value.fix
    with pytest.raises(RefusedError):
        require(Held("standard", (), ()), "strict")


def test_what_a_machine_can_give_is_found_without_going_in():
    found = available()
    assert found.level in {"strict", "standard", "partial", "none"}
    assert found.level == "strict" or found.missing
    assert subprocess.run([sys.executable, "-c", "pass"], check=False).returncode == 0  # this process is still free
