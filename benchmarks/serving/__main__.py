"""The peers and modelwright side by side, one core each, in interleaved rounds; prints Markdown tables.

    make bench-peers PEERS="--only modelwright,fastapi --rounds 3"

Makes an environment for every peer on first use (3.6 GB in all). Every answer is compared with scikit-learn's before a
load begins. Needs Linux, taskset and two cores; uses wrk where it is on the path.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from kit.figures import machine
from serving import environments, load
from serving.run import Run
from serving.server import adopt_orphans


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environments", type=Path, default=Path("build/peers"), help="where they are kept")
    parser.add_argument("--only", default="", metavar="NAME,...", help="servers or peers; all where not given")
    parser.add_argument("--workloads", default="", metavar="NAME,...", help="all where not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each load; modelwright writes its log meanwhile")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single measurement here")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    machine()
    if len(os.sched_getaffinity(0)) < 2 or not shutil.which("taskset"):
        print("not measured: this needs taskset on the path and two cores")
        return
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the running server is ended too
    with tempfile.TemporaryDirectory() as folder:
        run = Run(given, Path(folder))
        run.install()
        found = {peer: environments.versions(python, peer) for peer, python in run.pythons.items()}
        print(f"load by {load.tool()}, {given.rounds} rounds of {given.seconds} s")
        for peer, named in found.items():
            print(f"{peer}: " + ", ".join(f"{name} {version}" for name, version in named.items()))
        for number in range(1, given.rounds + 1):
            run.round(number)
        print(f"\n{run.report()}")
    if given.json:
        records = {"measurements": map(asdict, run.taken), "starts": map(asdict, run.starts)}
        lists = {name: list(rows) for name, rows in records.items()}
        given.json.write_text(json.dumps({"versions": found, **lists, "failed": run.failures()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
