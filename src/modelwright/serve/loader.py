"""Loading and closing, in whatever thread: one package at a time in this process, so that each can be measured."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelwright.core.errors import InternalError, ModelwrightError
from modelwright.core.package import Package
from modelwright.ports.runner import Runner, RunnerLoader
from modelwright.serve.load import Proved, prove
from modelwright.serve.memory import allocated_bytes, give_back, resident_bytes

TRIMMED_BYTES = 2**18
"""Loading a larger package leaves that much freed memory behind, which is given back at once."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Closed:
    """What closing runners brought: bytes that the system got back, and bytes that are allocated no more."""

    returned_bytes: int = 0
    freed_bytes: int = 0


class Loader:
    """Loads packages, proves them, and closes their runners.

    Args:
        runners: what loads packages.
        threads: the most threads of one version.
        cores: what all of them share.
    """

    def __init__(self, runners: RunnerLoader, *, threads: int, cores: int) -> None:
        self._runners, self._most, self._cores = runners, threads, cores
        self._threads = threads
        self._measuring = threading.Lock()

    def spread(self, models: int) -> None:
        """Give each version that is loaded from now on its share of the cores."""
        self._threads = max(1, min(self._most, self._cores // max(1, models)))

    def prove(self, package: Package) -> Proved:
        """Load a package, prove it, and measure what it holds.

        Raises:
            ModelwrightError: as :func:`modelwright.serve.load.prove`.
        """
        if package.native is not None:  # it runs in a process of its own, which tells what it holds
            return prove(package, self._runners, threads=self._threads)
        size = sum(entry.size for entry in package.manifest.files.values())
        with self._measuring:
            before = allocated_bytes()
            proved = prove(package, self._runners, threads=self._threads)
            if size > TRIMMED_BYTES:
                give_back()
            grown = allocated_bytes() - before
        return replace(proved, memory_bytes=proved.memory_bytes or max(grown, size))

    def close(self, runners: Sequence[Runner]) -> Closed:
        """Close runners, and measure what came of it."""
        apart = [runner for runner in runners if runner.memory_bytes]
        for runner in apart:  # their processes end, whatever is measured here
            _close(runner)
        if len(apart) == len(runners):
            return Closed()
        with self._measuring:
            allocated, resident = allocated_bytes(), resident_bytes()
            for runner in runners:
                if runner not in apart:
                    _close(runner)
            freed = allocated - allocated_bytes()
            give_back()
            return Closed(max(0, resident - resident_bytes()), max(0, freed))

    def replace(self, runners: Sequence[Runner], package: Package) -> tuple[Closed, Proved | ModelwrightError]:
        """:meth:`close`, so that there is room, and then :meth:`prove`; what failed is returned, not raised."""
        closed = self.close(runners)
        try:
            return closed, self.prove(package)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            return closed, told(error)


def told(error: Exception) -> ModelwrightError:
    """The error that is told of a package; what nobody foresaw is logged here."""
    if isinstance(error, ModelwrightError):
        return error
    _logger.error("a package could not be loaded", exc_info=error)
    failed = InternalError("serve.internal", "The load failed here.", fix="See the server's log.")
    failed.__cause__ = error
    return failed


def _close(runner: Runner) -> None:
    try:
        runner.close()
    except Exception:  # whatever is wrong with one must not keep the others in memory
        _logger.exception("a runner could not be closed")
