"""New versions under load (rows F1 and F2 of the abuse plan)."""

import asyncio

import pytest

from kit.burden import damaged, secrets
from kit.gateways import Registry, token_of
from kit.load import Lines, open_loop, versioned
from modelwright.core.errors import RefusedError

RATE = 300


def biased(epoch, **more):
    return secrets(bias=1_000_000 * epoch, **more)


def test_f1_updates_under_load_fail_no_request_and_each_answer_names_its_version(play, room, calm, tmp_path):
    registry, seen = Registry(tmp_path), {}
    registry.publish(biased(1))
    one = versioned("secrets", seen, bias=1_000_000, token=token_of("tenant"))

    async def updates():
        for epoch in range(2, 14):
            await asyncio.sleep(0.05)
            registry.publish(biased(epoch))
            assert await asyncio.to_thread(registry.in_force)

    async def story(gateway):
        load = open_loop(Lines(gateway.port), rate=RATE, seconds=3, one=one)
        figures = (await asyncio.gather(load, updates()))[0]
        assert await one(Lines(gateway.port)) == "good"
        return figures

    with registry.serving() as gateway:
        figures = play(story(gateway))
    assert set(figures.count) == {"good"}
    assert len(seen) >= 10
    assert max(seen) == 13
    calm(figures)
    assert figures.at(99) <= 60 * room()


@pytest.mark.parametrize("fault", ["golden", "graph", "blob"])
def test_f2_a_version_that_cannot_be_served_leaves_the_old_one_serving_and_says_why(play, tmp_path, fault):
    registry, seen = Registry(tmp_path), {}
    registry.publish(biased(1))
    one = versioned("secrets", seen, bias=1_000_000, token=token_of("tenant"))

    async def bad_updates():
        codes = set()
        for epoch in range(2, 6):
            await asyncio.sleep(0.1)
            bad = biased(epoch, wrong_golden=fault == "golden")
            registry.publish(damaged(bad) if fault == "graph" else bad, spoil=fault == "blob")
            with pytest.raises(RefusedError) as caught:
                await asyncio.to_thread(registry.in_force)
            codes.add(str(caught.value))
        return codes

    async def story(gateway):
        load = open_loop(Lines(gateway.port), rate=RATE, seconds=1.2, one=one)
        return await asyncio.gather(load, bad_updates())

    with registry.serving() as gateway:
        figures, codes = play(story(gateway))
        process = gateway.popen.pid
        registry.publish(biased(7))
        assert registry.in_force()
        assert gateway.popen.pid == process
        assert gateway.popen.poll() is None
    assert set(figures.count) == {"good"}
    assert set(seen) == {1}
    words = {"golden": "golden", "graph": "graph", "blob": "digest|hash|damaged|match"}[fault]
    assert codes
    assert all(any(word in code for word in words.split("|")) for code in codes), codes
