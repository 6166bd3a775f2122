"""Processes of models that run as code, killed, hung and poisoned under load (rows A1, A2, A5, A10, A11, K2)."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from kit import burden
from kit.burden import answer_to
from kit.gateways import serving
from kit.load import Lines, asker, infer, kind_of, new_secret, open_loop
from modelwright.core import package_codec

PATIENCE = 30


def until(found, seconds=30):
    """What ``found`` gives once it is something; asked again and again."""
    limit = time.monotonic() + seconds
    while not (told := found()) and time.monotonic() < limit:
        time.sleep(0.02)
    return told


async def child(gateway):
    """A model process, once there is one."""
    return (await asyncio.to_thread(until, lambda: gateway.children))[0]


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def ask(lines, model, secret, *headers):
    """Kind of outcome and seconds it took."""
    began = time.perf_counter()
    reply = await lines.ask(infer(model, secret, *headers), PATIENCE)
    return kind_of(reply, [answer_to(secret)]), time.perf_counter() - began


async def ready(lines, model):
    reply = await lines.ask(f"GET /v2/models/{model}/ready HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reply.status == 200


@pytest.fixture(scope="module")
def coded():
    return burden.coded("coded")


def test_a1_killing_a_process_under_load_fails_no_request(play, coded, calm, tmp_path):
    kills = 4

    async def story(gateway):
        load = asyncio.create_task(
            open_loop(Lines(gateway.port), rate=150, seconds=2.2 * kills, one=asker("coded", patience=PATIENCE))
        )
        for _ in range(kills):
            await asyncio.sleep(2)
            os.kill(await child(gateway), signal.SIGKILL)
        return await load, await ask(Lines(gateway.port), "coded", new_secret())

    with serving(tmp_path, coded) as gateway:
        figures, after = play(story(gateway))
        assert gateway.metric("modelwright_runner_kills") == kills
        assert gateway.metric("modelwright_runner_restarts") == kills
    calm(figures)
    assert dict(figures.count) == {"good": figures.sent}
    assert after[0] == "good"


def test_a1_another_process_of_the_version_answers_while_one_is_started_again(play, coded, tmp_path):
    async def story(gateway):
        await asyncio.to_thread(until, lambda: gateway.metric("modelwright_runner_restarts"))
        os.kill(await child(gateway), signal.SIGSTOP)
        lines = Lines(gateway.port)
        return [await ask(lines, "coded", new_secret(), "Modelwright-Timeout-Ms: 800") for _ in range(20)]

    with serving(tmp_path, coded, native_instances=2) as gateway:
        kinds = [kind for kind, _ in play(story(gateway))]
    assert kinds.count("status-504") <= 1
    assert set(kinds) <= {"good", "status-504"}


def test_a2_a_request_that_ends_processes_is_refused_and_its_neighbours_are_answered(play, coded, tmp_path):
    async def story(gateway):
        lines = Lines(gateway.port)
        secrets = [new_secret() for _ in range(40)]
        crowd = [ask(lines, "coded", secret) for secret in secrets[:20]]
        crowd.append(ask(lines, "coded", burden.SEGMENTATION_FAULT))
        crowd += [ask(lines, "coded", secret) for secret in secrets[20:]]
        first = await asyncio.gather(*crowd)
        again = await ask(lines, "coded", burden.SEGMENTATION_FAULT)
        return [kind for kind, _ in first], again[0]

    with serving(tmp_path, coded) as gateway:
        kinds, again = play(story(gateway))
        assert gateway.metric("modelwright_quarantined_requests") == 1
        assert gateway.metric("modelwright_runner_kills") <= 3
    assert kinds[20] == again == "status-422"
    assert kinds[:20] + kinds[21:] == ["good"] * 40


def test_a2_a_crash_loop_is_contained_and_told_and_its_neighbour_serves_on(play, coded, calm, tmp_path):
    async def story(gateway):
        neighbour = asyncio.create_task(open_loop(Lines(gateway.port), rate=100, seconds=8, one=asker("secrets")))
        lines, kinds, began = Lines(gateway.port), [], time.monotonic()
        while await ready(lines, "coded") and time.monotonic() < began + 30:
            kinds.append((await ask(lines, "coded", new_secret()))[0])
            for pid in gateway.children:
                os.kill(pid, signal.SIGKILL)
        status = (await lines.ask(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")).status
        refused = await lines.ask(infer("coded", new_secret()), PATIENCE)
        return await neighbour, status, refused

    with serving(tmp_path, coded, burden.secrets()) as gateway:
        figures, status, refused = play(story(gateway))
        restarts = gateway.metric("modelwright_runner_restarts")
    assert restarts <= 6
    assert status == 200
    assert refused.status == 503
    assert b"again and again" in refused.body
    assert b"retry-after" in refused.headers
    calm(figures)
    assert dict(figures.count) == {"good": figures.sent}


@pytest.mark.parametrize("how", ["endless loop", "stopped"])
def test_a10_a_hang_is_answered_at_its_deadline_and_the_process_replaced(play, coded, room, tmp_path, how):
    async def story(gateway):
        lines = Lines(gateway.port)
        if how == "stopped":
            os.kill(await child(gateway), signal.SIGSTOP)
        secret = new_secret() if how == "stopped" else burden.ENDLESS
        return (
            await ask(lines, "coded", secret, "Modelwright-Timeout-Ms: 600"),
            await ask(lines, "coded", new_secret()),
        )

    with serving(tmp_path, coded, burden.secrets()) as gateway:
        (hung, waited), (after, seconds) = play(story(gateway))
    assert (hung, after) == ("status-504", "good")
    assert waited <= 0.6 + room()
    assert seconds <= 2 * room()


def test_a11_a_model_that_takes_all_memory_fails_alone(play, coded, tmp_path):
    async def story(gateway):
        lines = Lines(gateway.port)
        return await ask(lines, "coded", burden.GREEDY), await ask(lines, "coded", new_secret())

    with serving(tmp_path, coded, native_memory_bytes=2**30) as gateway:
        (greedy, _), (after, _) = play(story(gateway))
        assert gateway.peak < 400
    assert greedy not in ("good", "gave-up", "failed")
    assert after == "good"


def test_a5_no_process_outlives_a_gateway_that_is_killed(play, coded, tmp_path):
    async def story(gateway):
        pid = await child(gateway)
        gateway.popen.kill()
        return await asyncio.to_thread(until, lambda: gone(pid))

    with serving(tmp_path, coded) as gateway:
        assert play(story(gateway))


HOSTILE = """
import os, socket, struct

import numpy as np


def gateway():
    for descriptor in range(3, 64):
        try:
            found = socket.socket(fileno=descriptor)
        except OSError:
            continue
        return found


def predict(inputs):
    secret = inputs["secret"]
    act, line, header = int(secret[0, 0]), gateway(), struct.Struct("=IHHQQ")
    if act == -1:
        line.send(os.urandom(300))
    if act == -2:
        line.send(header.pack(0x4D574652, 4, 1, 12345, 8))
    if act == -3:
        line.send(header.pack(0x4D574652, 4, 1, 2**60, 2**60))
    if act == -4:
        line.send(b"")
    if act == -5:
        line.shutdown(socket.SHUT_RDWR)
    if act == -6:
        for _ in range(1000):
            line.setblocking(False)
            line.send(os.urandom(90_000))
    if act == -7:
        os.close(line.fileno())
    line.detach()
    return {"answer": secret * 7 + 13}
"""


@pytest.mark.parametrize("acts", [(-1, -2, -3, -4), (-5, -6, -7)])
def test_k2_a_process_that_sends_what_it_may_not_is_replaced_and_no_one_gets_a_wrong_answer(play, tmp_path, acts):
    coded = burden.coded("hostile", idempotent=False)
    files = {name: coded.read(name) for name in coded.manifest.files} | {"model.py": HOSTILE.encode()}

    async def story(gateway):
        lines, kinds = Lines(gateway.port), []
        for act in acts:
            kinds.append((await ask(lines, "hostile", act))[0])
            kinds.append((await ask(lines, "hostile", new_secret()))[0])
        return kinds, await ask(lines, "secrets", new_secret())

    with serving(tmp_path, package_codec.assemble("hostile", files), burden.secrets()) as gateway:
        kinds, neighbour = play(story(gateway))
        assert gateway.popen.poll() is None
        log = gateway.log.read_text()
    assert kinds == ["refused", "good"] * len(acts)
    assert "serve.runner-violated" in log
    assert neighbour[0] == "good"
