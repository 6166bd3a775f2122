"""What is told of a model whose processes do not answer."""

from __future__ import annotations

from modelwright.adapters.runners.restarts import LONGEST_SECONDS
from modelwright.core.errors import UnavailableError
from modelwright.ports.runner import LOST


def runner_closed(model: str) -> UnavailableError:
    """It serves no more."""
    return UnavailableError("serve.runner-closed", f"The runner of {model!r} is closed.")


def run_lost(model: str, reason: str) -> UnavailableError:
    """The process of a run ended; ``reason`` is what it did (``crashed``, ``hung``, ``violated``)."""
    return UnavailableError(
        LOST,
        f"The process of model {model!r} ended before it answered.",
        why=f"It {reason}; another one is being started.",
        fix="Try again.",
        details={"retry_after": 1},
    )


def version_failed(model: str, reason: str) -> UnavailableError:
    """There is no process and will be none for a while."""
    return UnavailableError(
        "serve.version-failed",
        f"Model {model!r} cannot be run now: its processes end again and again.",
        why=f"The last one {reason}.",
        fix="See the server's log; roll back to a version that runs.",
        details={"retry_after": round(LONGEST_SECONDS)},
    )


def not_started(model: str, error: OSError) -> UnavailableError:
    """The system gives no process."""
    return UnavailableError(
        "serve.runner-failed-to-start",
        f"The process of model {model!r} could not be started.",
        why=f"{error}.",
        fix="Check that there is room on the disk for temporary files, and for another process.",
        details={"retry_after": round(LONGEST_SECONDS)},
    )
