"""Models whose code takes all it can of one thing, once it is asked with :data:`NOW`; served beside sound ones."""

from kit.burden import running
from modelwright.core.package import Package

NOW = -1
"""The secret that sets it off. Every other one is answered as it should be."""

_FRAME = """
import ctypes
import hashlib
import mmap
import os
import threading
import time

import numpy as np


def act():
ACT


def predict(inputs):
    secret = inputs["secret"]
    if (secret == -1).any():
        act()
    return {"answer": secret * 7 + 13}
"""

ACTS = {
    "fork-bomb": """
while True:
    for start in (os.fork, lambda: os.posix_spawn("/bin/sh", ["sh"], {}), lambda: os.system("sh &") and os.fork()):
        try:
            start()
        except OSError:
            pass
""",
    "threads": """
forever = threading.Event()
for _ in range(10**6):
    threading.Thread(target=forever.wait, daemon=True).start()
""",
    "burning-threads": """
def burn():
    while True:
        hashlib.sha256(bytes(2**22))
try:
    for _ in range(10**6):
        threading.Thread(target=burn, daemon=True).start()
except RuntimeError:
    burn()
""",
    "disk": """
number = 0
while True:
    number += 1
    with open(f"{number}", "wb") as file:
        file.write(bytes(2**24))
""",
    "burner": """
while True:
    pass
""",
    "memory": """
held = []
while True:
    held.append(np.ones(2**27, np.uint8))
""",
}

AFTERWARDS = {
    "answers-and-burns": """
def burn():
    while True:
        hashlib.sha256(bytes(2**22))
threading.Thread(target=burn, daemon=True).start()
""",
}
"""What it does after it has answered."""


def evil(kind: str) -> Package:
    """The model named ``kind``: one of :data:`ACTS` or :data:`AFTERWARDS`."""
    body = "\n".join(f"    {line}" if line else "" for line in (ACTS | AFTERWARDS)[kind].strip().splitlines())
    return running(kind, _FRAME.replace("ACT", body))
