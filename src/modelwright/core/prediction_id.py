"""Prediction ids, made where a prediction begins: by a client, or by the server where the caller gave none."""

from __future__ import annotations

import os
import random
import time

_VARIANT, _LOW = 1 << 63, (1 << 62) - 1

_random = random.Random()  # noqa: S311 - ids must differ, not be secret; seeded by the system, and no system call per id
os.register_at_fork(after_in_child=_random.seed)


def new_prediction_id() -> str:
    """A fresh id that sorts by time: UUID version 7 (RFC 9562, section 5.7) as 32 hex digits."""
    bits = _random.getrandbits(74)
    return f"{int(time.time() * 1000):012x}7{bits >> 62:03x}{bits & _LOW | _VARIANT:016x}"
