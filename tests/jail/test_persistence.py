"""Nothing of a held process stays: not for the next one, not after its end, not after whoever started it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from modelwright.jail import available

LEAVES = """
import atexit, builtins, os, sys, threading
def leave():
    left = []
    for place in ('/dev/shm', '/tmp', '/var/tmp', '/run', os.path.expanduser('~'), os.path.dirname(os.__file__)):
        try: open(os.path.join(place, 'left'), 'w').close()
        except OSError: continue
        left.append(place)
    return left
builtins.evil, sys.modules['evil'] = True, os
threading.Thread(target=threading.Event().wait, daemon=True).start()
atexit.register(leave)
print(*leave(), flush=True)
"""
FINDS = """
import builtins, os, sys, threading
print(hasattr(builtins, 'evil'), 'evil' in sys.modules, threading.active_count(), os.path.exists('left'))
"""


def test_the_next_process_finds_nothing_of_the_last(hold, tmp_path):
    if "bounded scratch" not in available().parts:
        pytest.skip("no file system in memory here")
    scratch = Path(tempfile.mkdtemp(dir=tmp_path)).resolve()
    _, said, _ = hold(LEAVES, scratch=scratch, scratch_bytes=2**20)
    assert said == [str(scratch)]  # its home, which is gone with it
    assert list(scratch.iterdir()) == []
    _, said, _ = hold(FINDS, scratch=scratch, scratch_bytes=2**20)
    assert said == ["False", "False", "1", "False"]
    assert not any(Path(place, "left").exists() for place in ("/dev/shm", "/tmp", "/var/tmp", "/run"))


def test_a_held_process_ends_with_whoever_started_it(program_of, tmp_path):
    scratch = Path(tempfile.mkdtemp(dir=tmp_path)).resolve()
    child = program_of(scratch, "print('in', flush=True)\nimport threading; threading.Event().wait()", "PARENT")
    starter = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, '-I', '-c', {child!r}.replace("'PARENT'", str(os.getpid()))])
child.wait()
"""
    middle = subprocess.Popen([sys.executable, "-I", "-c", starter], stdout=subprocess.PIPE)
    assert middle.stdout.readline() == b"in\n"
    middle.kill()
    assert middle.stdout.read() == b""  # ends when the last process that holds the pipe is gone
    middle.wait()


def test_a_process_whose_starter_is_gone_before_it_is_tied_leaves(program_of, tmp_path):
    text = program_of(tmp_path, "print('in')", 1 if os.getppid() != 1 else 2)
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
