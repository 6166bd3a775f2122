"""No answer holds anything of another request (row G9 of the abuse plan)."""

import asyncio
import os
import random
import signal

from kit.burden import coded, secrets, slow
from kit.gateways import Registry
from kit.load import Lines, Secretive

CLIENTS, SECONDS = 64, 3.0


def test_g9_sixty_four_clients_of_two_tenants_get_only_what_their_own_secret_gives(play, tmp_path):
    registry = Registry(tmp_path, ("red", "blue"))
    registry.publish(secrets(), slow("together", fixed=0.002, per_row=0.0002, row_independent=True))

    async def story(gateway):
        client = Secretive(("secrets", "together"), ("red", "blue"), random.Random(7))
        lines = Lines(gateway.port)
        end = asyncio.get_running_loop().time() + SECONDS

        async def run():
            while asyncio.get_running_loop().time() < end:
                await client.one(lines)

        await asyncio.gather(*(run() for _ in range(CLIENTS)))
        lines.close()
        assert await asyncio.to_thread(gateway.settled, "mw_red")
        return client

    with registry.serving(queue_seconds=2) as gateway:
        client = play(story(gateway))
    assert client.wrong == []
    assert client.count["good"] > 1000
    assert client.count["bad-request"] > 50
    assert client.count["cancelled"] > 50


def test_g9_clients_of_a_model_whose_processes_are_killed_get_only_what_their_own_secret_gives(play, tmp_path):
    registry, choice = Registry(tmp_path, ("red", "blue")), random.Random(11)
    registry.publish(coded("coded", seconds=0.001))

    async def story(gateway):
        client, lines = Secretive(("coded",), ("red", "blue"), choice), Lines(gateway.port)
        end = asyncio.get_running_loop().time() + SECONDS

        async def run():
            while asyncio.get_running_loop().time() < end:
                await client.one(lines)

        async def kill():
            while asyncio.get_running_loop().time() < end:
                await asyncio.sleep(0.3 + choice.random())
                if processes := gateway.children:
                    os.kill(choice.choice(processes), signal.SIGKILL)

        await asyncio.gather(kill(), *(run() for _ in range(CLIENTS)))
        lines.close()
        assert await asyncio.to_thread(gateway.settled, "mw_red")
        assert await asyncio.to_thread(gateway.metric, "modelwright_runner_kills", "mw_red") >= 2
        return client

    with registry.serving(queue_seconds=2, native_instances=2) as gateway:
        client = play(story(gateway))
    assert client.wrong == []
    assert client.count["good"] > 1000
    assert client.count["bad-request"] > 50
    assert client.count["cancelled"] > 50
    assert set(client.count) <= {"good", "bad-request", "cancelled", "too-late", "refused", "status-422"}
