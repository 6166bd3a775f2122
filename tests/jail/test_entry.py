import subprocess
import sys


def test_what_cannot_be_entered_is_said_and_leaves_no_one_half_held_unnoticed(program_of, tmp_path):
    text = program_of(tmp_path / "none", "print('in')", "PARENT").replace("'PARENT'", "__import__('os').getppid()")
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "The jail could not be closed around the process." in done.stderr
    assert "in\n" not in done.stdout


def test_a_level_off_has_limits_only(hold):
    code = """
import os, resource
print(held.level, len(held.parts), resource.getrlimit(resource.RLIMIT_CORE)[1], os.path.isfile(os.__file__))
"""
    _, said, _ = hold(code, level="off")
    assert said == ["none", "1", "0", "True"]


def test_libraries_that_are_imported_later_are_found_and_work(hold):
    code = """
import numpy as np, sqlite3, ssl, zoneinfo, tempfile, asyncio, getpass, json
np.linalg.svd(np.eye(64))
zoneinfo.ZoneInfo('Europe/Vienna') if zoneinfo.available_timezones() else None
with tempfile.TemporaryFile() as file: file.write(b'x')
async def answer(): return await asyncio.to_thread(lambda: 7)
row = sqlite3.connect(':memory:').execute('select 1').fetchone()
print(held.level, asyncio.run(answer()), getpass.getuser(), row[0])
"""
    _, said, _ = hold(code)
    assert said[1:] == ["7", "model", "1"]


def test_what_is_listed_may_be_read_and_never_written(hold, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"weights")
    (tmp_path / "model" / "weights").chmod(0o600)
    code = f"""
from pathlib import Path
place = Path({str(tmp_path)!r})
print(len((place / 'model' / 'weights').read_bytes()))
for act in ((place / 'model' / 'weights').touch, (place / 'model' / 'new').touch, lambda: list(place.iterdir())):
    try: act()
    except PermissionError: print('refused')
"""
    _, said, _ = hold(code, readable=(tmp_path / "model",))
    assert said == ["7", "refused", "refused", "refused"]


def test_libraries_that_ask_whether_they_may_read_are_told_so(hold, tmp_path):
    (tmp_path / "model").mkdir(mode=0o700)
    weights, secret = tmp_path / "model" / "weights", tmp_path / "secret"
    for path in (weights, secret):
        path.write_bytes(b"weights")
        path.chmod(0o600)
    code = f"""
import os
print(os.access({str(weights)!r}, os.R_OK), os.access({str(weights)!r}, os.W_OK))
try: print(open({str(secret)!r}).read())
except OSError as error: print(type(error).__name__)
"""
    _, said, _ = hold(code, readable=(tmp_path / "model",))
    assert said == ["True", "False", "PermissionError"]


def test_a_file_in_memory_can_be_made_where_it_was_asked_for_and_is_bounded(hold):
    code = """
import os
try:
    descriptor = os.memfd_create('answer')
    print(os.write(descriptor, b'x'))
    os.ftruncate(descriptor, 2**30)
except OSError as error: print(error.errno)
"""
    assert hold(code, memory_files=True)[1] == ["1", "27"]
    assert hold(code)[1] == ["1"]


def test_a_process_that_is_held_can_hold_itself_closer(hold):
    code = """
import os
os.mkdir('inner', 0o700)
again = enter(Confinement(Path('inner').resolve(), 'strict', 2**32, 0, 2**16))
print(again.level)
open('inside', 'w').close()
try: open('../outside', 'w').close()
except PermissionError: print('refused')
"""
    _, said, _ = hold(code)
    assert said[1:] == ["refused"]


def test_strict_allows_a_database_and_locks_in_its_scratch(hold):
    code = """
import fcntl, sqlite3
with sqlite3.connect('own.db') as own: own.execute('create table t as select 7 as x')
fcntl.flock(open('own.lock', 'w'), fcntl.LOCK_EX)
print(own.execute('select x from t').fetchone()[0])
"""
    assert hold(code)[1] == ["7"]


def test_what_the_docs_say_stays_visible_is_no_more_than_names_sizes_and_times(hold, tmp_path):
    (tmp_path / "secret").write_bytes(b"planted")
    code = f"""
import os
print(os.stat({str(tmp_path / "secret")!r}).st_size, os.path.exists('/etc/shadow'))
try: open({str(tmp_path / "secret")!r})
except PermissionError: print('refused')
"""
    assert hold(code)[1] == ["7", "True", "refused"]


def test_a_scratch_that_others_may_enter_is_closed_to_them(hold, tmp_path):
    scratch = (tmp_path / "open").resolve()
    scratch.mkdir()
    scratch.chmod(0o777)
    hold("open('made', 'w').close()", scratch=scratch)
    assert scratch.stat().st_mode & 0o777 == 0o700
    assert (scratch / "made").stat().st_mode & 0o777 == 0o600
