from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwright.serve.cache import ENTRY_BYTES, EVERY, ResponseCache, key_of

DTYPES = ["<f4", "<f8", "<i8", "|u1", "|b1"]


@st.composite
def tensors(draw):
    found = {}
    for name in draw(st.lists(st.sampled_from(["x", "y", "xy"]), min_size=1, unique=True)):
        rows = draw(st.integers(0, 2))
        if draw(st.booleans()):
            values = draw(st.lists(st.text(max_size=2), min_size=rows, max_size=rows))
            tensor = np.empty((rows, 1), dtype=object)
            tensor[:, 0] = values
        else:
            tensor = np.array(
                draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)), draw(st.sampled_from(DTYPES))
            )
        found[name] = tensor
    return found


def same(one, other):
    return (
        one.keys() == other.keys()
        and all(one[name].dtype == other[name].dtype and one[name].shape == other[name].shape for name in one)
        and all(one[name].tolist() == other[name].tolist() for name in one)
    )


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(tensors(), tensors())
def test_two_requests_have_one_key_if_and_only_if_their_tensors_are_the_same(one, other):
    assert (key_of("d", "ada", one) == key_of("d", "ada", other)) is same(one, other)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(tensors())
def test_another_version_or_caller_has_another_key(feeds):
    keys = {key_of(digest, actor, feeds) for digest in ("d", "da") for actor in ("a", "da", "ada")}
    assert len(keys) == 6


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(tensors())
def test_the_key_does_not_depend_on_the_order_or_layout_in_memory(feeds):
    turned = {name: np.asfortranarray(feeds[name]) for name in reversed(feeds)}
    assert key_of("d", "ada", feeds) == key_of("d", "ada", turned)


def test_the_least_recently_used_makes_room():
    size = ENTRY_BYTES + 8
    cache = ResponseCache(10 * size, {"m"})
    for number in range(10):
        cache.put(bytes([number]), {"y": np.array([float(number)])})
    assert cache.get(b"\0")["y"].tolist() == [0.0]
    cache.put(b"new", {"y": np.array([10.0])})
    assert cache.get(b"\1") is None
    assert cache.get(b"\0") is not None
    assert cache.bytes == 10 * size


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 400)), max_size=60))
def test_it_never_holds_more_than_it_may(puts):
    cache = ResponseCache(8_000, {EVERY})
    for key, size in puts:
        cache.put(bytes([key]), {"y": np.zeros(size, np.uint8), "t": np.array(["ab"] * (size // 100), dtype=object)})
        assert 0 <= cache.bytes <= 8_000


def test_an_answer_that_is_kept_does_not_keep_the_run_it_came_from():
    cache, run = ResponseCache(10_000, {"m"}), np.zeros((100, 1))
    cache.put(b"k", {"y": run[3:4]})
    assert cache.get(b"k")["y"].base is None


def test_an_answer_too_large_for_the_cache_drives_nobody_out():
    cache = ResponseCache(10_000, {"m"})
    cache.put(b"small", {"y": np.zeros(1)})
    cache.put(b"large", {"y": np.zeros(1000)})
    assert cache.get(b"large") is None
    assert cache.get(b"small") is not None


@pytest.mark.parametrize(("models", "covered"), [({"m"}, True), ({EVERY}, True), ({"n"}, False), ((), False)])
def test_it_keeps_what_it_is_told_to(models, covered):
    assert ResponseCache(1, models).covers("m") is covered


def ticket(limit=1.0):
    return SimpleNamespace(cancelled=False, limit=limit)


def test_equal_requests_wait_for_the_first():
    cache, first, second = ResponseCache(1, ()), ticket(), ticket()
    assert not cache.follow(b"k", first)
    cache.lead(b"k", first)
    assert cache.follow(b"k", second)
    assert not cache.follow(b"other", ticket())
    assert cache.settled(b"k", second) == []
    assert cache.settled(b"k", first) == [second]
    assert not cache.follow(b"k", ticket())


def test_who_waited_for_one_who_left_waits_for_the_next_or_runs():
    cache, first, second, third = ResponseCache(1, ()), ticket(), ticket(), ticket()
    cache.lead(b"k", first)
    cache.follow(b"k", second)
    first.cancelled = True
    assert not cache.follow(b"k", third)
    cache.lead(b"k", third)
    assert cache.abandoned() == []
    third.cancelled = True
    assert cache.abandoned() == [[second]]
    assert cache.abandoned() == []


def test_who_waited_too_long_waits_no_longer():
    cache, first, second, third = ResponseCache(1, ()), ticket(), ticket(5.0), ticket(10.0)
    cache.lead(b"k", first)
    cache.follow(b"k", second)
    cache.follow(b"k", third)
    assert cache.late(6.0) == [second]
    assert cache.settled(b"k", first) == [third]
