"""What a name in a file means to whoever would open it. Advice for a person: no list of names makes a file safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Meaning = Literal["dangerous", "known", "unknown"]

_MODULES = frozenset(
    """
    os posix nt posixpath ntpath subprocess sys socket shutil pty commands popen2 runpy code codeop importlib imp
    pkgutil pydoc timeit profile cProfile pdb bdb trace doctest idlelib ctypes _ctypes cffi multiprocessing threading
    _thread asyncio concurrent signal webbrowser http urllib urllib2 urllib3 requests ftplib smtplib telnetlib imaplib
    poplib nntplib xmlrpc socketserver ssl select tempfile pathlib glob io _io fileinput linecache pickle _pickle
    cPickle marshal shelve dbm sqlite3 site venv ensurepip pip setuptools distutils zipimport zipfile tarfile platform
    getpass ast types inspect gc weakref builtins __builtin__ operator functools _operator _functools copyreg
    dill cloudpickle joblib torch numpy aiohttp httpx paramiko uuid logging unittest test lib2to3 mailcap cgi cgitb
    readline rlcompleter antigravity ensurepip faulthandler resource mmap fcntl msvcrt winreg _winapi
    """.split()  # noqa: SIM905 - read more easily
)
_HARMLESS = frozenset(
    """
    builtins.object builtins.dict builtins.list builtins.set builtins.frozenset builtins.tuple builtins.int
    builtins.float builtins.complex builtins.bool builtins.str builtins.bytes builtins.bytearray builtins.slice
    builtins.range builtins.Ellipsis __builtin__.object __builtin__.set __builtin__.frozenset __builtin__.bytearray
    __builtin__.complex copy_reg._reconstructor copyreg._reconstructor _codecs.encode collections.OrderedDict
    collections.defaultdict collections.deque collections.Counter datetime.datetime datetime.date datetime.timedelta
    datetime.time datetime.timezone decimal.Decimal fractions.Fraction uuid.UUID pathlib.PosixPath
    pathlib.PurePosixPath types.SimpleNamespace
    numpy.ndarray numpy.dtype numpy.float64 numpy.float32 numpy.int64 numpy.int32 numpy.str_ numpy.bool_ numpy.bool
    numpy.core.multiarray._reconstruct numpy.core.multiarray.scalar
    numpy._core.multiarray._reconstruct numpy._core.multiarray.scalar numpy.core.numeric._frombuffer
    numpy._core.numeric._frombuffer numpy.random._pickle.__randomstate_ctor numpy.random._pickle.__generator_ctor
    numpy.random._pickle.__bit_generator_ctor numpy.random._mt19937.MT19937 numpy.random._pcg64.PCG64
    numpy.random.mtrand.RandomState numpy.ma.core._mareconstruct numpy.ma.core.MaskedArray
    joblib.numpy_pickle.NumpyArrayWrapper
    torch._utils._rebuild_tensor_v2 torch._utils._rebuild_tensor torch._utils._rebuild_parameter torch.Size
    torch.FloatStorage torch.DoubleStorage torch.HalfStorage torch.BFloat16Storage torch.LongStorage torch.IntStorage
    torch.ShortStorage torch.CharStorage torch.ByteStorage torch.BoolStorage torch.device torch.dtype
    torch.storage.UntypedStorage torch.storage._load_from_bytes torch.float32 torch.float64 torch.int64
    """.split()  # noqa: SIM905 - as above
)
_LIBRARIES: tuple[str, ...] = (
    "sklearn.",
    "scipy.sparse.",
    "xgboost.",
    "lightgbm.",
    "catboost.",
    "statsmodels.",
    "river.",
    "torch.nn.",
)
_LIBRARIES += ("keras.layers", "keras.src.", "keras.models", "keras.initializers", "keras.optimizers", "skops.")
# In libraries that are otherwise only what a model is made of: what runs, loads, or fetches.
_WORDS: tuple[str, ...] = (
    "eval",
    "exec",
    "system",
    "popen",
    "spawn",
    "run",
    "load",
    "import",
    "getattr",
    "call",
    "compile",
    "open",
)
_WORDS += ("memmap", "fromfile", "save", "download", "fetch", "urlopen", "partial", "lambda", "unpickle")


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """``module`` and ``attribute`` as the file spells them; ``where`` is the part of the file that names them."""

    module: str
    attribute: str
    where: str = ""

    @property
    def meaning(self) -> Meaning:
        """What it means that a file names it."""
        full = f"{self.module}.{self.attribute}"
        last = self.attribute.rpartition(".")[2].strip("_")
        if full in _HARMLESS:
            return "known"
        if last.startswith(_WORDS) or last.lower() == "lambda" or ".testing" in full:
            return "dangerous"
        if full.startswith(_LIBRARIES) and "." not in self.attribute:
            return "known"
        return "dangerous" if self.module.partition(".")[0] in _MODULES else "unknown"
