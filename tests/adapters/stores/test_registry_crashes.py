"""Promise D1 under SIGKILL, with two processes writing to the same registry."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from modelwright.adapters.stores.database import open_database
from modelwright.adapters.stores.local_blobs import LocalBlobs

WRITER = Path(__file__).parent / "registry_writer.py"
ROUNDS = 5


def run_and_kill(home, first, chance):
    """Two writers until both acknowledged something and a random moment passed; what each acknowledged."""
    writers = {
        name: subprocess.Popen(
            [sys.executable, WRITER, str(home), name, str(first[name])], stdout=subprocess.PIPE, text=True
        )
        for name in first
    }
    heads = {name: writer.stdout.readline() for name, writer in writers.items()}
    time.sleep(chance.uniform(0.0, 0.15))
    for writer in writers.values():
        time.sleep(chance.uniform(0.0, 0.03))
        writer.kill()
    rest = {name: writer.communicate()[0] for name, writer in writers.items()}
    # The last line may be half written: it was not acknowledged.
    lines = {name: (heads[name] + rest[name]).split("\n")[:-1] for name in writers}
    return {name: [line.split() for line in lines[name]] for name in writers}


def test_ten_kills_lose_nothing_acknowledged_and_repeat_nothing(tmp_path):
    chance = random.Random(20261120)
    first, acknowledged = {"left": 0, "right": 0}, []
    for _ in range(ROUNDS):
        for name, acts in run_and_kill(tmp_path, dict(first), chance).items():
            assert acts, f"the {name} writer did not start"
            acknowledged += acts
            done = [int(key.rpartition("-")[2]) for action, key, *_ in acts if action == "watch.look"]
            first[name] = max([first[name] - 1, *done]) + 1

    with open_database(f"sqlite:///{tmp_path}/modelwright.db", keys=tmp_path / "keys") as database:
        verdict = database.ledger.verify()
        assert verdict.verified, verdict.why
        entries = list(database.ledger.entries())
        written = Counter((entry.action, entry.evidence["idempotency_key"]) for entry in entries)
        assert set(written.values()) == {1}
        assert {(action, key) for action, key, *_ in acknowledged} <= set(written)

        versions = {version.number: version for version in database.versions.versions("flight")}
        assert list(versions) == [str(n) for n in range(1, len(versions) + 1)]
        assert len(versions) == sum(action == "register.add" for action, _ in written)
        assert database.versions.alias("flight", "champion") in versions
        moves = [entry for entry in entries if entry.action == "register.move-alias"]
        assert len(database.versions.alias_history("flight")) == len(moves)

        blobs = LocalBlobs(tmp_path / "blobs")
        for action, _key, *told in acknowledged:
            if action == "register.add":
                number, digest = told
                assert versions[number].digest == digest
                assert blobs.get(digest)
