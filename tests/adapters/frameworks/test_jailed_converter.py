import os
import pickle
import socket

import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from modelwright.adapters.frameworks import exchange
from modelwright.adapters.frameworks.jailed import SCRATCH_BYTES, convert_file
from modelwright.adapters.frameworks.sklearn import SklearnFramework
from modelwright.core.errors import BadInputError, CorruptError, DeadlineError, RefusedError, UnavailableError
from modelwright.core.native import Native
from modelwright.core.signature import Signature
from modelwright.core.table import Table
from modelwright.features.tabular import table
from modelwright.jail import available
from modelwright.ports.framework import Conversion

ROWS = np.random.default_rng(0).normal(size=(60, 3))


class Runs:
    """A pickle that runs code when it is opened."""

    def __init__(self, code):
        self.code = code

    def __reduce__(self):
        return exec, (self.code, {})


@pytest.fixture
def hostile(tmp_path):
    def write(code):
        path = tmp_path / "hostile.pkl"
        path.write_bytes(pickle.dumps(Runs(code)))
        return path

    return write


def convert(path, seconds=60):
    return convert_file(path, table(ROWS), family="sklearn", target="t", timeout_seconds=seconds)


@pytest.fixture(scope="module")
def fitted():
    return RandomForestClassifier(n_estimators=4, n_jobs=2).fit(ROWS, ROWS[:, 0] > 0)  # threads inside the jail


def test_a_pickled_model_converts_as_the_object_does_and_says_how_it_was_held(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "m.joblib")
    from_file = SklearnFramework().convert(tmp_path / "m.joblib", table(ROWS), target="t")
    from_object = SklearnFramework().convert(fitted, table(ROWS), target="t")
    assert from_file.onnx == from_object.onnx
    assert from_file.signature == from_object.signature
    assert from_file.parity == from_object.parity
    np.testing.assert_array_equal(from_file.outputs["probabilities"], from_object.outputs["probabilities"])
    held = from_file.notes["isolation"]
    assert "own process" in held
    assert "no_new_privs" in held
    assert any(part.startswith(("network namespace", "no sockets")) for part in held.split("; "))


def test_a_hostile_pickle_reaches_no_listener_and_is_named(hostile):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        with pytest.raises(BadInputError) as caught:
            convert(hostile(f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5)"))
        with pytest.raises(TimeoutError):
            listener.accept()
    assert caught.value.code == "pack.unreadable-model"
    assert "In force: own process" in caught.value.why


ATTEMPTS = """
import ctypes, os, socket
allowed = []
def attempt(name, act):
    try:
        if act() is not False: allowed.append(name)
    except OSError: pass
attempt('write', lambda: open({canary!r}, 'w'))
attempt('program', lambda: os.execv('/bin/true', ['true']))
attempt('shell', lambda: os.system('touch ' + {canary!r}) == 0)
attempt('link', lambda: os.symlink('/etc/passwd', 'result.json'))
attempt('fork', os.fork)
attempt('signal', lambda: os.kill({parent}, 0))
attempt('namespace', lambda: ctypes.CDLL(None).unshare(0x10000000) == 0)
attempt('unix socket', lambda: socket.socket(socket.AF_UNIX))
attempt('udp socket', lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
attempt('environment', lambda: 'SECRET_TOKEN' in os.environ)
open('inside', 'w').close()
raise ValueError(f'allowed: {{allowed}}')
"""


def test_a_hostile_pickle_can_do_nothing_outside_its_scratch(hostile, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "planted")
    canary = tmp_path / "canary"
    with pytest.raises(BadInputError) as caught:
        convert(hostile(ATTEMPTS.format(canary=str(canary), parent=os.getpid())))
    assert "ValueError: allowed: []" in caught.value.why
    assert not canary.exists()


def test_a_hostile_pickle_reads_no_file_of_its_user_and_lists_no_directory(hostile, tmp_path):
    (tmp_path / "secret").write_text("planted")
    code = f"""
import os
home = {str(tmp_path)!r}
for act in (lambda: open(home + '/secret'), lambda: os.listdir(home), lambda: open('/etc/passwd')):
    try: act()
    except PermissionError: continue
    raise ValueError('read')
raise ValueError('nothing was read')
"""
    with pytest.raises(BadInputError, match="nothing was read"):
        convert(hostile(code))


def test_a_pickle_that_fills_the_disk_fills_nothing_of_ours(hostile, tmp_path, monkeypatch):
    if "bounded scratch" not in available().parts:
        pytest.skip("no file system in memory here")
    code = f"""
import os
written = 0
try:
    for name in range(2000):
        with open(str(name), 'wb') as file: written += file.write(bytes(2**20))
except OSError as error:
    raise ValueError(f'{{error.strerror}} after {{written <= {SCRATCH_BYTES}}}')
"""
    with pytest.raises(BadInputError, match="No space left on device after True"):
        convert(hostile(code))


def test_a_crash_is_a_clear_error(hostile):
    with pytest.raises(UnavailableError) as caught:
        convert(hostile("import os; os._exit(3)"))
    assert caught.value.code == "pack.converter-crashed"
    assert "status 3" in caught.value.why
    with pytest.raises(UnavailableError, match="signal SIG"):
        convert(hostile("import ctypes; ctypes.string_at(0)"))


def test_a_model_that_takes_too_long_is_ended(hostile):
    with pytest.raises(DeadlineError) as caught:
        convert(hostile("while True: pass"), seconds=2)
    assert caught.value.code == "pack.converter-timeout"


def test_memory_is_limited(hostile):
    with pytest.raises(BadInputError, match="MemoryError"):
        convert(hostile("bytearray(64 * 2**30)"))


FORGE = """
import os
def forge(text):
    for descriptor in range(64):
        try:
            if os.readlink(f'/proc/self/fd/{descriptor}').endswith('result.json'): os.write(descriptor, text.encode())
        except OSError: pass
    os._exit(0)
"""


def test_a_forged_result_is_not_believed(hostile):
    code = FORGE + "forge('[' * 100000)"
    with pytest.raises(UnavailableError) as caught:
        convert(hostile(code))
    assert caught.value.code == "pack.converter-crashed"


@pytest.mark.parametrize("content", [b"hello", pickle.dumps(LogisticRegression())[:-20]])
def test_a_file_that_is_no_pickle_is_unreadable(content, tmp_path):
    (tmp_path / "m.pkl").write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        convert(tmp_path / "m.pkl")
    assert caught.value.code == "pack.unreadable-model"
    assert "Traceback" not in str(caught.value)


def test_errors_of_the_conversion_arrive_as_they_were(tmp_path):
    path = tmp_path / "m.joblib"
    joblib.dump(LogisticRegression(), path)
    with pytest.raises(BadInputError) as caught:
        convert(path)
    assert caught.value.code == "pack.not-fitted"
    with pytest.raises(BadInputError) as caught:
        convert(tmp_path / "none.joblib")
    assert caught.value.code == "pack.missing-file"


def test_the_scratch_directory_is_gone_afterwards_and_so_are_old_ones(hostile, tmp_path, monkeypatch):
    place = tmp_path / "temporary"
    stale, other = place / "modelwright-convert-old", place / "something-old"
    for directory in (stale, other):
        directory.mkdir(parents=True)
        os.utime(directory, (0, 0))
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with pytest.raises(UnavailableError):
        convert(hostile("import os; os._exit(3)"))
    assert list(place.iterdir()) == [other]


def test_tables_cross_without_pickle_and_keep_their_kinds(tmp_path):
    rows = Table(
        {
            "text": np.array(["ä", None, "", "x\ny"], dtype=object),
            "number": np.array([1.5, np.nan, np.inf, -0.0]),
            "small": np.array([1, 2, 3, 4], dtype=np.int8),
            "flag": np.array([True, False, True, False]),
            "at": np.array(["2026-01-01", "NaT", "1960-01-01", "2026-01-02"], dtype="datetime64[us]"),
        }
    )
    exchange.write_examples(tmp_path, rows, {})
    back, _ = exchange.read_examples(tmp_path)
    assert back.names == rows.names
    for name in rows.names:
        assert back[name].dtype == rows[name].dtype
        np.testing.assert_array_equal(back[name], rows[name])


def test_arrays_that_would_need_pickle_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", names=np.frombuffer(b'["a"]', dtype=np.uint8), array0=np.array([Runs("1")]))
    with pytest.raises(CorruptError):
        exchange.read_arrays(tmp_path / "evil.npz")


def test_files_that_the_converter_made_keep_their_names_in_whatever_order_it_made_them(tmp_path):
    files = {"b.json": b"second", "c.onnx": b"", "a.txt": b"first"}
    made = Conversion(b"", Signature((), ()), None, {}, {}, "x", "1", "X", native=Native("x", "b.json"), files=files)
    exchange.write_conversion(exchange.open_results(tmp_path), made)
    assert exchange.read_result(tmp_path).files == files


def test_a_link_in_the_scratch_directory_is_not_followed(tmp_path):
    (tmp_path / "result.json").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        exchange.read_result(tmp_path)


def test_a_refusal_inside_the_jail_is_a_refusal_outside(tmp_path):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    model = make_pipeline(FunctionTransformer(np.nan_to_num), LogisticRegression()).fit(ROWS, ROWS[:, 0] > 0)
    joblib.dump(model, tmp_path / "m.joblib")
    with pytest.raises(RefusedError) as caught:
        convert(tmp_path / "m.joblib")
    assert caught.value.code == "pack.unconvertible"
    assert "FunctionTransformer" in caught.value.details["part"]


BEYOND = """
import ctypes, fcntl, os, struct
kernel, allowed = ctypes.CDLL(None, use_errno=True), []
def attempt(name, act):
    try:
        if act() != -1: allowed.append(name)
    except OSError: pass
info = struct.pack('iii', 0, 0, -1) + bytes(116)
attempt('queued signal', lambda: kernel.syscall(129, {parent}, 0, info))
attempt('limits', lambda: kernel.syscall(302, {parent}, 7, None, (ctypes.c_long * 2)()))
attempt('signals of a pipe', lambda: fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, {parent}))
attempt('typing', lambda: kernel.ioctl(0, 0x5412, b'x'))
attempt('mode', lambda: os.chmod({canary!r}, 0o777))
attempt('owner', lambda: os.chown({canary!r}, -1, -1))
attempt('times', lambda: os.utime({canary!r}))
attempt('attribute', lambda: os.setxattr({canary!r}, 'user.x', b'1'))
attempt('its environment', lambda: open('/proc/{parent}/environ', 'rb').read(1))
attempt('memory that stays', lambda: kernel.shmget(0, 4096, 0o1600))
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
raise ValueError(f'allowed: {{allowed}}')
"""


def test_a_hostile_pickle_reaches_no_other_process_and_no_mode_owner_or_attribute(hostile, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("x")
    canary.chmod(0o600)
    with pytest.raises(BadInputError) as caught:
        convert(hostile(BEYOND.format(canary=str(canary), parent=os.getpid())))
    assert "ValueError: allowed: []" in caught.value.why
    assert canary.stat().st_mode & 0o777 == 0o600


def test_a_forged_error_carries_nothing_that_a_terminal_obeys(hostile):
    code = (
        FORGE
        + """
import json
words = {word: 'a\\x1b]0;b\\x07c' for word in ('code', 'what', 'why', 'fix')}
forge(json.dumps({'error': words | {'kind': 'refused'}}))
"""
    )
    with pytest.raises(RefusedError) as caught:
        convert(hostile(code))
    error = caught.value
    assert {error.code, error.what, error.why, error.fix} == {"a ]0;b c"}


def test_a_scratch_directory_of_any_depth_is_removed(hostile, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    with pytest.raises(BadInputError, match="too deep"):
        convert(hostile("import os\nfor _ in range(2000): os.mkdir('d'), os.chdir('d')\nraise ValueError('too deep')"))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_arrays_that_unpack_beyond_their_limit_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", names=np.frombuffer(b'["x"]', np.uint8), array0=np.zeros(100_000))
    assert exchange.read_arrays(tmp_path / "a.npz")["x"].shape == (100_000,)
    with pytest.raises(CorruptError, match="too large"):
        exchange.read_arrays(tmp_path / "a.npz", max_bytes=500_000)
