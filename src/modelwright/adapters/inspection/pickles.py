"""Pickled streams, walked opcode by opcode by the standard library's own reader, with everything that acts taken out.

Its reader in Python is used rather than a list of opcodes: a name that is put together from the memo, or spelled in
another protocol, is found as an unpickler would. What would be a class, a call or an object is an inert ``_Thing``.
"""

# mypy: disable-error-code="attr-defined,name-defined,misc,no-untyped-call"

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from typing import Any, BinaryIO

from modelwright.adapters.inspection.names import Name

MAX_THINGS = 5_000_000
_ITEM = re.compile(r"[<>|=]?(?:([biufcmM])(\d{1,2})|([SUV])(\d{1,6})|(\?))\Z")
_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")


class WalkError(Exception):
    """The stream is no pickle, or not from here on."""


class _Thing:
    """In place of anything that unpickling would make; it does nothing."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: tuple[str, str] = ("", ""), arguments: Any = None) -> None:
        self.name, self.arguments, self.state = name, arguments, {}  # type: tuple[str, str], Any, dict[str, Any]


class Walker(pickle._Unpickler):  # noqa: SLF001 - the reader that can be changed
    """Walks one pickle; ``names`` are the globals that it would import, ``unresolved`` counts those made on the way."""

    dispatch: dict[int, Callable[..., None]] = dict(pickle._Unpickler.dispatch)  # noqa: SLF001, RUF012

    def __init__(self, file: BinaryIO, where: str) -> None:
        super().__init__(file)
        self.file, self.where = file, where
        self.names: list[Name] = []
        self.unresolved = self._steps = 0

    def walk(self) -> None:
        """Walk to the end of this pickle; raises WalkError where there is none."""
        try:
            self.load()
        except Exception as error:
            raise WalkError(f"{type(error).__name__}: {str(error)[:200]}") from error

    def find_class(self, module: Any, name: Any) -> _Thing:
        """Note the name; nothing is imported."""
        self._count()
        if not isinstance(module, str) or not isinstance(name, str):
            self.unresolved += 1
            return _Thing()
        self.names.append(Name(module[:300], name[:300], self.where))
        return _Thing((module, name))

    def persistent_load(self, pid: Any) -> _Thing:
        """A reference to something outside, as PyTorch's storages are."""
        del pid
        return _Thing()

    def get_extension(self, code: int) -> None:
        """A name from a registry of the process that opens the file."""
        self.unresolved += 1
        self.append(_Thing(("copyreg", f"extension {code}")))

    def _count(self) -> None:
        self._steps += 1
        if self._steps > MAX_THINGS:
            raise WalkError("it makes more things than any model does")

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.append(self.find_class(module, name))

    def _call(self) -> None:
        self._count()
        arguments, called = self.stack.pop(), self.stack.pop()
        self.append(_Thing(getattr(called, "name", ("", "")), arguments))

    def _call_with_names(self) -> None:
        self.stack.pop()
        self._call()

    def _make(self) -> None:
        """OBJ: the class and its arguments after a mark."""
        arguments = self.pop_mark()
        self.append(_Thing(getattr(arguments[0], "name", ("", "")), tuple(arguments[1:])))

    def _instance(self) -> None:
        """INST: the class by two lines, its arguments after a mark."""
        module, name = self.readline()[:-1].decode("ascii"), self.readline()[:-1].decode("ascii")
        found, arguments = self.find_class(module, name), self.pop_mark()
        self.append(_Thing(found.name, tuple(arguments)))

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Thing):
            if isinstance(state, dict):
                target.state = state
            if target.name == _WRAPPER:
                self._skip_array(target.state)

    def _one_item(self) -> None:
        value, key, target = self.stack.pop(), self.stack.pop(), self.stack[-1]
        if isinstance(target, dict) and isinstance(key, str):  # other keys: hashing nested ones can take for ever
            target[key] = value

    def _items(self) -> None:
        items, target = self.pop_mark(), self.stack[-1]
        if isinstance(target, dict):
            target.update((key, value) for key, value in zip(items[::2], items[1::2], strict=False) if type(key) is str)

    def _dictionary(self) -> None:
        items = self.pop_mark()
        self.append({k: v for k, v in zip(items[::2], items[1::2], strict=False) if type(k) is str})

    def _forget_item(self) -> None:
        self.stack.pop()

    def _forget_items(self) -> None:
        self.pop_mark()

    def _frozen(self) -> None:
        self.pop_mark()
        self.append(_Thing())

    def _skip_array(self, state: dict[str, Any]) -> None:
        """The bytes of an array that joblib wrote right into the stream; an array of objects is a pickle of its own."""
        kind = state.get("dtype")
        code = kind.arguments[0] if isinstance(kind, _Thing) and isinstance(kind.arguments, tuple) else None
        if isinstance(code, str) and code.lstrip("<>|=").startswith("O"):
            inner = Walker(self.file, self.where)
            inner.walk()
            self.names += inner.names
            self.unresolved += inner.unresolved
            return
        size = _item_bytes(code) * math.prod(_whole(size) for size in state.get("shape", ()))
        if state.get("numpy_array_alignment_bytes"):
            size += self.file.read(1)[0]
        if size < 0 or len(_drop(self.file, size)) != 0:
            raise WalkError("an array is longer than the file")

    for _opcode, _does in (
        (pickle.STACK_GLOBAL, _stack_global),
        (pickle.REDUCE, _call),
        (pickle.NEWOBJ, _call),
        (pickle.NEWOBJ_EX, _call_with_names),
        (pickle.OBJ, _make),
        (pickle.INST, _instance),
        (pickle.BUILD, _build),
        (pickle.SETITEM, _one_item),
        (pickle.SETITEMS, _items),
        (pickle.DICT, _dictionary),
        (pickle.APPEND, _forget_item),
        (pickle.APPENDS, _forget_items),
        (pickle.ADDITEMS, _forget_items),
        (pickle.FROZENSET, _frozen),
    ):
        dispatch[_opcode[0]] = _does


def _item_bytes(code: Any) -> int:
    found = _ITEM.match(code) if isinstance(code, str) else None
    if found is None:
        raise WalkError("an array has a type of values that is not known")
    if found[5]:
        return 1
    return int(found[2] or 0) if found[1] else int(found[4]) * (4 if found[3] == "U" else 1)


def _whole(size: Any) -> int:
    if not isinstance(size, int) or not 0 <= size < 2**48:
        raise WalkError("an array has no whole shape")
    return size


def _drop(file: BinaryIO, size: int) -> bytes:
    """Read and forget ``size`` bytes; a byte for the lack of some."""
    while size:
        chunk = file.read(min(size, 1 << 20))
        if not chunk:
            return b"!"
        size -= len(chunk)
    return b""
