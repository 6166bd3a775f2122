"""What a held process is started with."""

import subprocess
import sys

from modelwright.jail import environment

COUNTS = """
import importlib, os
for name in ("numpy", "pandas", "pyarrow", "sklearn", "joblib"):
    try: importlib.import_module(name)
    except ImportError: continue
    print(name, len(os.listdir("/proc/self/task")))
"""


def test_no_library_of_data_that_is_installed_starts_a_thread_when_it_is_imported(tmp_path):
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", COUNTS],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    threads = dict(line.split() for line in done.stdout.splitlines())
    assert set(threads.values()) == {"1"}, threads
