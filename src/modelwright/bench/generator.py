"""A generator's process: ``python -m modelwright.bench.generator``, told what to do over its standard input."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from typing import IO

import uvloop

from modelwright.bench.job import Job, Load, Word, read_message, write_message
from modelwright.bench.run import measure


def main() -> int:
    """Read a job, then loads; answer each with ``ready`` (or an error), wait for the word to go, give the outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair; its end is the end of our input
    given, taken = sys.stdin.buffer, sys.stdout.buffer
    try:
        job = read_message(given, Job)
        if job.cores:
            os.sched_setaffinity(0, job.cores)
        gc.disable()  # a load makes no cycles that matter in seconds
        while True:
            _one(job, read_message(given, Load), given, taken)
            gc.collect()
    except (EOFError, BrokenPipeError):
        return 0


def _one(job: Job, load: Load, given: IO[bytes], taken: IO[bytes]) -> None:
    async def ready() -> None:
        write_message(taken, Word(ready=True))
        read_message(given, bool)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(measure(job, load, ready))
    except OSError as error:
        write_message(taken, Word(error=str(error) or type(error).__name__))
        return
    write_message(taken, Word(outcome=outcome))


if __name__ == "__main__":
    sys.exit(main())
