"""Models that take all they can, served beside a sound one (row K3 of the abuse plan)."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from kit import burden, evil
from kit.burden import answer_to
from kit.gateways import serving
from kit.load import Lines, asker, infer, kind_of, new_secret, open_loop

PATIENCE = 30
NEVER_DONE = {"fork-bomb", "burning-threads", "burner"}
"""What no limit of the process stops: the request's own deadline does."""


def processes():
    return sum(1 for place in Path("/proc").iterdir() if place.name.isdecimal())


async def asked(lines, model, secret):
    reply = await lines.ask(infer(model, secret, "Modelwright-Timeout-Ms: 1000"), PATIENCE)
    return kind_of(reply, [answer_to(secret)])


async def answered(lines, model):
    """Whether it answers again, soon: one that was ended is started again."""
    for _ in range(50):
        if await asked(lines, model, new_secret()) == "good":
            return True
        await asyncio.sleep(0.1)
    return False


@pytest.mark.parametrize("kind", evil.ACTS)
def test_k3_a_model_that_takes_all_it_can_is_stopped_and_its_neighbour_serves_on(play, calm, tmp_path, kind):
    async def story(gateway):
        lines = Lines(gateway.port)
        (process,) = gateway.children
        beside = asyncio.create_task(open_loop(Lines(gateway.port), rate=100, seconds=3, one=asker("secrets")))
        await asyncio.sleep(0.5)
        before, free = processes(), os.statvfs(tmp_path).f_bavail
        outcome = await asked(lines, kind, evil.NOW)
        after, left = processes(), os.statvfs(tmp_path).f_bavail
        return process, outcome, after - before, free - left, await answered(lines, kind), await beside

    with serving(tmp_path, evil.evil(kind), burden.secrets(), native_memory_bytes=2**30) as gateway:
        process, outcome, more, taken, again, figures = play(story(gateway))
        assert gateway.peak < 400
        assert (process not in gateway.children) == (outcome == "status-504")
    assert outcome in ({"status-504"} if kind in NEVER_DONE else {"status-400", "status-504"})
    assert again
    assert more < 50
    assert taken * os.statvfs(tmp_path).f_frsize < 128 * 2**20
    assert set(figures.count) <= {"good", "gave-up"}
    calm(figures)
    assert set(figures.count) == {"good"}


def test_k3_a_model_that_answers_and_then_burns_is_ended_and_started_again(play, tmp_path):
    async def story(gateway):
        lines, (process,) = Lines(gateway.port), gateway.children
        outcome = await asked(lines, "answers-and-burns", evil.NOW)
        limit = time.monotonic() + 60
        while process in gateway.children:  # it answers, so nothing but what it uses tells
            assert time.monotonic() < limit
            await asyncio.sleep(0.1)
        return outcome, await answered(lines, "answers-and-burns")

    with serving(tmp_path, evil.evil("answers-and-burns"), native_idle_share="0.3") as gateway:
        outcome, again = play(story(gateway))
        told = [line for line in gateway.log.read_text().splitlines() if "model process ended" in line]
        ends, starts = gateway.metric("modelwright_runner_kills"), gateway.metric("modelwright_runner_restarts")
        assert gateway.metric("modelwright_runner_kills", label='"burned"') == 1
    assert outcome == "good"
    assert again
    assert len(told) == 1
    assert '"reason":"burned"' in told[0]
    assert ends == starts == 1
