"""A process that writes to a registry until it is killed, and says on standard output what was acknowledged.

Arguments: data directory, name of the writer, number of the first act. A number that was begun before and not
acknowledged is repeated under the same idempotency keys.
"""

import itertools
import os
import sys
from pathlib import Path

from modelwright.adapters.stores.database import open_database
from modelwright.adapters.stores.local_blobs import LocalBlobs
from modelwright.core.access import Act
from modelwright.core.version import Lineage


def acknowledge(*words):
    os.write(1, (" ".join(words) + "\n").encode())


def main():
    home, name, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    blobs = LocalBlobs(home / "blobs")
    database = open_database(f"sqlite:///{home}/modelwright.db", keys=home / "keys")
    for n in itertools.count(first):
        act = Act(name, "as told", f"{name}-{n}")
        digest = blobs.put(f"{name} {n}".encode())
        version = database.versions.register("flight", digest, lineage=Lineage(), verdict={}, act=act)
        acknowledge("register.add", act.key, version.number, digest)
        database.versions.set_alias("flight", "champion", version.number, act=act)
        acknowledge("register.move-alias", act.key)
        database.ledger.append("watch.look", "flight", act=act, evidence={"n": n})
        acknowledge("watch.look", act.key)


if __name__ == "__main__":
    main()
