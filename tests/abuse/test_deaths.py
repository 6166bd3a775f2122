"""Gateways and supervisors that are killed or told to stop under load (rows A3, A5 and A9 of the abuse plan)."""

import asyncio
import itertools
import json
import os
import signal
import time

import pytest

from kit.burden import answer_to, coded, secrets
from kit.gateways import serving
from kit.load import Lines, asker, infer, kind_of, new_secret, open_loop, post
from kit.servers import Server, alive, register
from modelwright.core.access import Act
from modelwright.lifecycle.keep import LEAST_ROWS
from modelwright.lifecycle.watch import observe
from modelwright.record.log import DuckLog
from modelwright.settings import load
from modelwright.wiring import platform

PATIENCE = 30


async def until(found):
    limit = time.monotonic() + PATIENCE
    while not (told := found()):
        assert time.monotonic() < limit, "waited in vain"
        await asyncio.sleep(0.01)
    return told


def asked(model, token, acknowledged):
    """One prediction with an id of its own, which is kept once it is answered."""

    async def one(lines):
        secret = new_secret()
        request = infer(model, secret, f"Authorization: Bearer {token}", name=f"{secret}")
        reply = await lines.ask(request, PATIENCE)
        kind = kind_of(reply, [answer_to(secret)])
        if kind == "good":
            acknowledged.add(str(secret))
        return kind

    return one


@pytest.mark.parametrize("workers", [1, 2])
def test_a3_a_killed_gateway_refuses_no_connection_and_loses_no_acknowledged_record(play, calm, tmp_path, workers):
    package, kills, acknowledged = secrets(), 2, set()
    register(tmp_path / "home", package)

    async def story(server):
        one, lines = asked("secrets", server.token, acknowledged), Lines(server.port)
        load = asyncio.create_task(open_loop(lines, rate=100, seconds=2 * kills, one=one))
        for _ in range(kills):
            await asyncio.sleep(0.8)
            before = await until(lambda: len(server.gateways) == workers and server.gateways)
            os.kill(before[0], signal.SIGKILL)
            await until(lambda before=before: before[0] not in server.gateways)
        return await load, lines.turned_down, await one(Lines(server.port))

    server = Server(tmp_path / "home", "--workers", str(workers))
    try:
        figures, turned_down, after = play(story(server))
    finally:
        assert server.stop() == 0
    assert turned_down == 0
    assert after == "good"
    assert set(figures.count) <= {"good", "failed"}
    logged = DuckLog(tmp_path / "home" / "log").joined("secrets", signature=package.signature)
    assert acknowledged <= set(logged["prediction_id"].tolist())
    calm(figures)
    assert figures.count["failed"] <= 10 * kills  # what was under way in the one that was killed


def test_a5_a_killed_supervisor_leaves_no_process_and_starts_again_with_the_same_versions(play, tmp_path):
    packages = [secrets(), secrets("others"), coded("coded")]
    register(tmp_path / "home", *packages)

    async def answers(server):
        lines = Lines(server.port)
        return [
            await asker(package.name, f"Authorization: Bearer {token}", patience=PATIENCE)(lines)
            for package in packages
        ]

    server = Server(tmp_path / "home")
    token, port = server.token, server.port
    try:
        assert play(answers(server)) == ["good"] * 3
        started = server.everything
        assert len(server.models) == 1
        server.popen.kill()
        server.popen.wait(PATIENCE)
        play(until(lambda: not alive(started)))
        with pytest.raises(ConnectionRefusedError):
            play(asyncio.open_connection("127.0.0.1", port))
    finally:
        server.stop()
    again = Server(tmp_path / "home")
    try:
        assert play(answers(again)) == ["good"] * 3
        assert len(again.models) == 1
    finally:
        assert again.stop() == 0


def test_a9_a_server_told_to_stop_answers_what_was_asked_before_and_ends_with_zero(play, calm, tmp_path):
    slow, told, turns = coded("coded", seconds=0.05), [], itertools.cycle(("coded", "secrets"))

    async def story(gateway):
        late = []

        async def one(lines):
            begun, model = time.perf_counter(), next(turns)
            kind = await asker(model, patience=PATIENCE)(lines)
            late.append((begun, kind))
            return kind

        load = asyncio.create_task(open_loop(Lines(gateway.port), rate=100, seconds=2, one=one))
        await asyncio.sleep(1)
        told.append(time.perf_counter())
        gateway.popen.send_signal(signal.SIGTERM)
        return await load, late

    with serving(tmp_path, slow, secrets(), native_instances=2) as gateway:
        processes = gateway.children
        figures, outcomes = play(story(gateway))
        assert gateway.popen.wait(PATIENCE) == 0
    assert not alive(processes)
    calm(figures)
    before = [kind for begun, kind in outcomes if begun < told[0]]
    after = {kind for begun, kind in outcomes if begun > told[0]}
    assert len(before) > 50
    assert set(before) == {"good"}
    assert after <= {"good", "failed", "refused"}  # turned down: it does not listen any more


def test_a4_a_killed_control_process_delays_the_looks_and_counts_every_record_once(play, tmp_path):
    package, kills, sent = secrets(), 4, []
    (version,) = register(tmp_path / "home", package)
    with platform(load({"home": tmp_path / "home"})) as parts:
        parts.versions.set_alias("secrets", "champion", version.number, act=Act("kit"))
    began = time.time() - 86400  # long settled, and in order: what is counted depends on no clock

    async def asking(server):
        lines = Lines(server.port)
        while True:
            secret, at = new_secret(), began + len(sent) / 100
            tensor = {"name": "secret", "shape": [1, 1], "datatype": "INT64", "data": [secret]}
            body = json.dumps({"parameters": {"event_time": at}, "inputs": [tensor]}).encode()
            reply = await lines.ask(
                post("/v2/models/secrets/infer", body, f"Authorization: Bearer {server.token}"), PATIENCE
            )
            assert reply.status == 200, reply
            sent.append(at)

    def reports():
        with platform(load({"home": tmp_path / "home"})) as parts:
            return parts.findings.reports("secrets", limit=1000)[::-1]

    async def story(server):
        asked = asyncio.create_task(asking(server))
        for number in range(kills):
            kept = len(reports())
            await until(lambda kept=kept: asked.done() or len(reports()) > kept)
            await asyncio.sleep(0.13 * number)  # at another place in a round each time
            os.kill(await until(lambda: server.control), signal.SIGKILL)
        asked.cancel()
        return await asyncio.gather(asked, return_exceptions=True)

    server = Server(tmp_path / "home", keep_seconds="0.05")
    try:
        (ended,) = play(story(server))
        assert isinstance(ended, asyncio.CancelledError)
        play(until(lambda: len(sent) - sum(report.rows for report in reports()) < LEAST_ROWS))
    finally:
        assert server.stop() == 0
    looks = reports()
    assert len(looks) >= kills
    for before, after in itertools.pairwise(looks):
        assert before.window.until == after.window.since  # no gap and no overlap
    with platform(load({"home": tmp_path / "home"})) as parts:
        for report in looks:
            window = {"since": report.window.since, "until": report.window.until}
            assert observe(parts, {"model": "secrets", **window}) == report
    logged = DuckLog(tmp_path / "home" / "log").joined("secrets", signature=package.signature)["event_time"]
    assert set(sent) <= set(logged.tolist())
    assert sum(report.rows for report in looks) == (logged < looks[-1].window.until).sum()
