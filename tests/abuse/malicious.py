"""Hostile model files, made byte by byte: ``CARRIERS`` are the ways to have Python source run by who opens them."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import zipfile
import zlib

import cloudpickle
import numpy as np

CARRIERS = {}
NOT_RUN_BY_PICKLE = set()


def carrier(suffix, *, runs=True):
    """Add a way: a function from Python source to the bytes of a file that runs it."""

    def add(make):
        name = f"{make.__name__}{suffix}"
        CARRIERS[name] = make
        if not runs:
            NOT_RUN_BY_PICKLE.add(name)
        return make

    return add


class Calls:
    """Pickles as a call."""

    def __init__(self, called, *arguments):
        self.called, self.arguments = called, arguments

    def __reduce__(self):
        return self.called, self.arguments


def text(value):
    held = value.encode()
    return b"\x8c" + bytes([len(held)]) + held if len(held) < 256 else b"X" + struct.pack("<I", len(held)) + held


def named(module, name):
    return text(module) + text(name) + b"\x93"


def called(module, name, *arguments):
    return b"\x80\x04" + named(module, name) + b"(" + b"".join(map(text, arguments)) + b"tR."


def zipped(entries, flags=0, crc=None):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    body = bytearray(held.getvalue())
    for mark, flag, check in ((b"PK\x03\x04", 6, 14), (b"PK\x01\x02", 8, 16)):
        at = body.find(mark)
        while at >= 0:
            if flags:
                body[at + flag] |= flags
            if crc is not None:
                body[at + check : at + check + 4] = struct.pack("<I", crc)
            at = body.find(mark, at + 4)
    return bytes(body)


@carrier(".pkl")
def protocol_0(code):
    return b"c__builtin__\nexec\n(V" + code.replace("\n", "\\u000a").encode() + b"\ntR."


@carrier(".pkl")
def protocol_2(code):
    return pickle.dumps(Calls(exec, code), 2)


@carrier(".pkl")
def protocol_5(code):
    return pickle.dumps(Calls(exec, code), 5)


@carrier(".pickle")
def instance_opcode(code):
    return b"(V" + code.replace("\n", "\\u000a").encode() + b"\nibuiltins\nexec\n."


@carrier(".pkl")
def object_opcode(code):
    return b"\x80\x02(cbuiltins\nexec\n" + b"X" + struct.pack("<I", len(code)) + code.encode() + b"o."


@carrier(".pkl")
def name_from_the_memo(code):
    return b"\x80\x04" + text("exec") + b"\x94" + text("builtins") + b"h\x00\x93(" + text(code) + b"tR."


@carrier(".pkl")
def dotted_name(code):
    return b"\x80\x04" + named("timeit", "sys.modules") + b"0" + called("builtins", "exec", code)[2:]


@carrier(".pkl")
def broken_after_the_call(code):
    return called("builtins", "exec", code)[:-1] + b"0\xff\xff broken"


@carrier(".pkl")
def second_header(code):
    return b"\x80\x04\x80\x02\x80\x05N0" + called("builtins", "exec", code)[2:]


@carrier(".pkl")
def pickle_within(code):
    return pickle.dumps(Calls(pickle.loads, pickle.dumps(Calls(exec, code))))


@carrier(".pkl")
def state_that_is_called(code):
    make = named("builtins", "exec") + b"(" + text(code) + b"tR"
    return b"\x80\x04" + named("types", "SimpleNamespace") + b")R}" + text("x") + make + b"sb."


@carrier(".pkl")
def after_ten_thousand_numbers(code):
    return b"\x80\x04" + b"K\x010" * 10_000 + called("builtins", "exec", code)[2:]


@carrier(".pkl")
def gadget_timeit(code):
    return b"\x80\x04" + named("timeit", "timeit") + b"(" + text(code) + text("pass") + b"tR."


@carrier(".pkl")
def gadget_cprofile(code):
    return called("cProfile", "run", code)


@carrier(".pkl")
def gadget_profile(code):
    return called("profile", "run", code)


@carrier(".pkl")
def gadget_bdb(code):
    instance = named("bdb", "Bdb") + b")R"
    return b"\x80\x04" + named("bdb", "Bdb.run") + b"(" + instance + text(code) + b"tR."


@carrier(".pkl")
def gadget_code(code):
    runner = named("code", "InteractiveInterpreter") + b")R"
    return b"\x80\x04" + named("code", "InteractiveInterpreter.runcode") + b"(" + runner + text(code) + b"tR."


@carrier(".pkl")
def gadget_trace(code):
    return b"\x80\x04" + named("trace", "Trace.run") + b"(" + named("trace", "Trace") + b")R" + text(code) + b"tR."


@carrier(".pkl")
def gadget_partial(code):
    held = named("builtins", "exec") + text(code)
    return b"\x80\x04" + named("functools", "partial") + b"(" + held + b"tR)R."


@carrier(".pkl")
def gadget_methodcaller(code):
    caller = named("operator", "methodcaller") + b"(" + text("exec") + text(code) + b"tR"
    module = named("importlib", "import_module") + b"(" + text("builtins") + b"tR"
    return b"\x80\x04" + caller + b"(" + module + b"tR."


@carrier(".pkl")
def gadget_getattr(code):
    module = named("importlib", "import_module") + b"(" + text("builtins") + b"tR"
    return b"\x80\x04" + named("builtins", "getattr") + b"(" + module + text("exec") + b"tR(" + text(code) + b"tR."


@carrier(".pkl")
def gadget_run_code(code):
    compiled = named("builtins", "compile") + b"(" + text(code) + text("x") + text("exec") + b"tR"
    return b"\x80\x04" + named("runpy", "_run_code") + b"(" + compiled + b"}tR."


@carrier(".pkl")
def gadget_numpy_testing(code):
    return b"\x80\x04" + named("numpy.testing._private.utils", "runstring") + b"(" + text(code) + b"}tR."


@carrier(".pkl")
def gadget_script(code):
    return b"\x80\x04" + named("doctest", "debug_script") + b"(" + text(code) + b"\x88tR."


@carrier(".joblib")
def joblib_plain(code):
    return pickle.dumps(Calls(exec, code), 4)


@carrier(".joblib")
def joblib_after_an_array(code):
    import joblib  # only here

    held = io.BytesIO()
    joblib.dump([np.arange(50.0), Calls(exec, code)], held)
    return held.getvalue()


@carrier(".joblib")
def joblib_in_an_array_of_objects(code):
    import joblib  # only here

    held = io.BytesIO()
    joblib.dump([np.array([Calls(exec, code), None], dtype=object), np.arange(9)], held)
    return held.getvalue()


@carrier(".joblib")
def joblib_zlib(code):
    return zlib.compress(protocol_5(code))


@carrier(".joblib")
def joblib_gzip(code):
    return gzip.compress(protocol_5(code))


@carrier(".joblib")
def joblib_bz2(code):
    return bz2.compress(protocol_5(code))


@carrier(".joblib")
def joblib_xz(code):
    return lzma.compress(protocol_5(code))


@carrier(".pkl")
def cloudpickle_function(code):
    space = {}
    exec(f"def act():\n    exec({code!r})", space)  # pickled by value, as a notebook's would be
    return cloudpickle.dumps(Calls(cloudpickle.loads(cloudpickle.dumps(space["act"]))))


@carrier(".npy", runs=False)
def numpy_objects(code):
    held = io.BytesIO()
    np.save(held, np.array([Calls(exec, code)], dtype=object), allow_pickle=True)
    return held.getvalue()


@carrier(".npz", runs=False)
def numpy_archive_of_objects(code):
    return zipped({"a.npy": numpy_objects(code)})


@carrier(".pt", runs=False)
def torch_zip(code):
    return zipped({"archive/data.pkl": protocol_2(code), "archive/version": b"3\n", "archive/data/0": b"\0" * 64})


@carrier(".joblib", runs=False)
def torch_zip_under_another_name(code):
    return torch_zip(code)


@carrier(".pt", runs=False)
def torch_zip_of_a_wrong_crc(code):
    return zipped({"archive/data.pkl": protocol_2(code)}, crc=0xDEADBEEF)


@carrier(".pt", runs=False)
def torch_zip_that_says_it_is_encrypted(code):
    return zipped({"archive/data.pkl": protocol_2(code)}, flags=1)


@carrier(".pth", runs=False)
def torch_zip_within_a_zip(code):
    return zipped({"notes.txt": zipped({"picture.png": protocol_2(code)})})


@carrier(".bin")
def torch_of_many_pickles(code):
    return pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + protocol_2(code)


@carrier(".pkl")
def pickle_before_a_zip(code):
    return protocol_2(code) + zipped({"a.txt": b"harmless"})


@carrier(".keras", runs=False)
def keras_lambda(code):
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": {"class_name": "__lambda__"}}}
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer], "note": code}}
    return zipped({"config.json": json.dumps(config).encode(), "metadata.json": b"{}"})


@carrier(".keras", runs=False)
def keras_named_function(code):
    layer = {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": code}
    return zipped({"config.json": json.dumps({"class_name": "Functional", "config": {"layers": [layer]}}).encode()})


@carrier(".h5", runs=False)
def hdf5_lambda(code):
    return (
        b"\x89HDF\r\n\x1a\n" + b"\0" * 500 + b'{"class_name": "Lambda", "config": ' + json.dumps(code).encode() + b"}"
    )


@carrier(".skops", runs=False)
def skops_schema(code):
    tree = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "content": code}
    return zipped({"schema.json": json.dumps(tree).encode()})
