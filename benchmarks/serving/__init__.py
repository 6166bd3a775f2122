"""The real peers and modelwright side by side: the same model, each peer's own form of request, one core each."""

import os

# Before any library with OpenMP is loaded: its threads spin while they wait, for minutes on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
