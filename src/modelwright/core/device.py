"""Where a model runs: what was wished for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["cpu", "cuda", "tensorrt", "migraphx", "openvino", "coreml", "dml"]
KINDS: tuple[Kind, ...] = ("cpu", "cuda", "tensorrt", "migraphx", "openvino", "coreml", "dml")
AUTO = "auto"
_AUTO: tuple[Kind, ...] = ("cuda", "migraphx", "coreml", "dml", "cpu")
_MANY: frozenset[Kind] = frozenset({"cuda", "tensorrt", "migraphx", "openvino", "dml"})
MAX_DEVICES = 64


@dataclass(frozen=True, slots=True)
class Devices:
    """Devices of one kind. ``ids`` are the numbers of those to use; empty: the first one."""

    kind: Kind
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceWish:
    """Kinds of devices in the order in which they are tried; ``automatic`` where nobody asked for one of them."""

    choices: tuple[Devices, ...]
    automatic: bool = False

    @property
    def most(self) -> int:
        """The most devices that a version may run on at once."""
        return max(max(1, len(one.ids)) for one in self.choices)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a loaded version runs.

    ``instances`` is how many runs it makes at once; ``ids`` are the numbers of the devices that they are spread over.
    ``reason`` says why it runs on the CPU although another device was tried; ``replaceable`` whether the CPU may take
    over from the present device.
    """

    kind: Kind = "cpu"
    ids: tuple[int, ...] = ()
    instances: int = 1
    reason: str = ""
    replaceable: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Each device's name, such as ``cpu`` and ``cuda:1``."""
        return tuple(f"{self.kind}:{number}" for number in self.ids) or (self.kind,)


ON_CPU = Placement()


def parse_devices(text: str) -> DeviceWish:
    """``auto``, or kinds separated by commas, each with the numbers of its devices: ``cuda:0,1,cpu``.

    Raises:
        ValueError: with the reason.
    """
    if text.strip() == AUTO:
        return DeviceWish(tuple(Devices(kind) for kind in _AUTO), automatic=True)
    found: dict[Kind, list[int]] = {}
    last: Kind | None = None
    for part in (part.strip() for part in text.split(",")):
        if not (part.isdecimal() and last is not None and found[last]):  # else one more number of the kind before it
            name, colon, part = part.partition(":")  # noqa: PLW2901 - what is left of it is a number
            last = _kind(name)
            if last in found:
                raise ValueError(f"{name} stands there twice")
            found[last] = []
            if not colon:
                continue
        found[last].append(_number(last, part))
    for kind, ids in found.items():
        if len(set(ids)) < len(ids) or len(ids) > MAX_DEVICES:
            raise ValueError(f"a device of {kind} stands there twice, or there are more than {MAX_DEVICES}")
    return DeviceWish(tuple(Devices(kind, tuple(ids)) for kind, ids in found.items()))


def _kind(name: str) -> Kind:
    for kind in KINDS:
        if kind == name:
            return kind
    raise ValueError(f"{name!r} is none of {AUTO}, {', '.join(KINDS)}")


def _number(kind: Kind, text: str) -> int:
    if kind not in _MANY:
        raise ValueError(f"the devices of {kind} have no numbers")
    if not text.isdecimal() or not text.isascii() or int(text) >= 1024:
        raise ValueError(f"{text!r} is no number of a device")
    return int(text)
