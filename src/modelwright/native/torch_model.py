"""Opens PyTorch models: exported programs, TorchScript, pickled modules, and weights with the code that takes them."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature
from modelwright.native.torch_split import over_devices

Feeds = Mapping[str, NDArray[Any]]
Kind = Literal["program", "script", "module"]
SETTINGS = "torch.json"
"""Beside the model: ``code`` names a Python file there, ``factory`` a function in it, ``split`` says over what."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that answers tensors.

    ``call`` takes them by position where it takes one, else by name. ``names`` are those of its arguments, the first
    ``required`` of which it cannot do without; none where it does not say. ``model`` is what the file held.
    """

    kind: Kind
    call: Callable[..., Any]
    names: tuple[str, ...]
    required: int
    model: Any
    trained: bool = False


def open_torch(file: Path, signature: Signature, *, device: str = "cpu") -> Callable[[Feeds], dict[str, Any]]:
    """Open the model on a device (several, separated by commas, for one that is split) and give what answers.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    settings = settings_of(file)
    devices = device.split(",")
    first = devices[0]
    opened = open_file(file, settings, device="cpu" if settings.get("split") else first)
    call = opened.call
    if settings.get("split"):
        call, first = over_devices(opened.model, devices)
    return answering(call, [spec.name for spec in signature.outputs], first)


def settings_of(file: Path) -> dict[str, str]:
    """What stands in ``torch.json`` beside the file."""
    place = file.parent / SETTINGS
    found: dict[str, str] = json.loads(place.read_bytes()) if place.is_file() else {}
    return found


def answering(call: Callable[..., Any], names: list[str], device: str) -> Callable[[Feeds], dict[str, Any]]:
    """What asks the model without gradients, and gives its tensors in order under ``names``."""
    import torch  # lazy: only this loader needs it

    def answer(feeds: Feeds) -> dict[str, Any]:
        tensors = {
            name: torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
            for name, array in feeds.items()
        }
        with torch.inference_mode():
            said = call(*tensors.values()) if len(tensors) == 1 else call(**tensors)
        found = list(flat(said).values())
        if len(found) != len(names):
            raise ValueError(f"the model gave {len(found)} tensors where {', '.join(names)} are asked")
        return {name: as_numpy(tensor) for name, tensor in zip(names, found, strict=True)}

    return answer


def flat(answer: Any) -> dict[str, Any]:
    """The tensors of an answer by name: ``output``, ``output_0`` and so on, or the keys of a dictionary.

    Raises:
        TypeError: it holds something else.
    """
    import torch  # lazy: as above

    if isinstance(answer, torch.Tensor):
        return {"output": answer}
    if isinstance(answer, Mapping):
        found = {str(name): value for name, value in answer.items() if value is not None}
    elif isinstance(answer, tuple | list):
        found = {f"output_{index}": value for index, value in enumerate(answer)}
    else:
        raise TypeError(f"the model answers with a {type(answer).__name__}, which is neither tensors nor their names")
    for name, value in found.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"the model answers {name!r} with a {type(value).__name__}, which is no tensor")
    return found


def as_numpy(tensor: Any) -> NDArray[Any]:
    """The tensor's numbers; those that NumPy lacks (bfloat16) as FP32."""
    import torch  # lazy: as above

    if tensor.dtype.is_floating_point and tensor.dtype not in {torch.float16, torch.float32, torch.float64}:
        tensor = tensor.float()
    array: NDArray[Any] = np.ascontiguousarray(tensor.detach().cpu().numpy()).reshape(tuple(tensor.shape))
    return array


def kind_of(file: Path) -> Kind:
    """What a file holds, by the names in its archive; nothing is opened."""
    try:
        with zipfile.ZipFile(file) as archive:
            inner = {name.partition("/")[2] for name in archive.namelist()} | set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return "module"
    if {"archive_format", "models/model.json", "serialized_exported_program.json"} & inner:
        return "program"
    return "script" if "constants.pkl" in inner and any(name.startswith("code/") for name in inner) else "module"


def open_file(file: Path, settings: Mapping[str, str], *, device: str = "cpu") -> Opened:
    """Open the model, in evaluation mode.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    try:
        import torch  # lazy: only this loader needs it
    except ImportError as error:
        raise unreadable(
            "PyTorch is not installed here", "Install torch from your platform's package index."
        ) from error
    kind = kind_of(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is announced to end one day
        try:
            if kind == "program":
                return _program(torch, file, device)
            if kind == "script":
                return of_module(torch.jit.load(str(file), map_location=device), "script")
            return of_module(_module(torch, file, settings, device).to(device))
        except BadInputError:
            raise
        except ModuleNotFoundError as error:
            raise unreadable(
                f"it needs the module {error.name!r}, which is not installed here",
                "Install that module beside modelwright, or give its file: --option code=FILE.py.",
            ) from error
        except Exception as error:
            said = str(error).strip().split("\n", 1)[0][:300]
            raise unreadable(
                f"{type(error).__name__}: {said}", "Save it with the PyTorch that is installed here, and try again."
            ) from error


def of_module(module: Any, kind: Kind = "module") -> Opened:
    """A module in memory; it is put into evaluation mode."""
    trained = bool(module.training)
    module.eval()
    if kind == "script":
        taken = [(argument.name, not argument.has_default_value()) for argument in module.forward.schema.arguments[1:]]
    else:
        taken = [
            (name, parameter.default is parameter.empty)
            for name, parameter in inspect.signature(module.forward).parameters.items()
            if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
        ]
    taken.sort(key=lambda one: not one[1])
    return Opened(kind, module, tuple(name for name, _ in taken), sum(need for _, need in taken), module, trained)


def _program(torch: Any, file: Path, device: str) -> Opened:
    program = torch.export.load(str(file))
    if device != "cpu":
        program = torch.export.passes.move_to_device_pass(program, device)
    return of_program(program)


def of_program(program: Any) -> Opened:
    """An exported program; it stays in the mode in which it was exported."""
    names = tuple(program.graph_signature.user_inputs)
    first, _ = program.call_spec.in_spec.children()
    module = program.module()
    if first.num_children != first.num_leaves or not all(isinstance(name, str) for name in names):
        raise unreadable("its arguments are not tensors", "Export it with a forward that takes tensors only.")

    def call(*args: Any, **tensors: Any) -> Any:
        given = [*args, *(tensors[name] for name in names[len(args) :])]
        return module(
            *given[: first.num_leaves], **dict(zip(names[first.num_leaves :], given[first.num_leaves :], strict=True))
        )

    return Opened("program", call, names, len(names), program)


def _module(torch: Any, file: Path, settings: Mapping[str, str], device: str) -> Any:
    code = _run(file.parent / settings["code"]) if settings.get("code") else None
    if settings.get("factory"):
        weights = torch.load(file, map_location=device, weights_only=True)
        module = getattr(code, settings["factory"])()
        module.load_state_dict(weights.get("state_dict", weights) if isinstance(weights, Mapping) else weights)
        return module
    if _only_weights(torch, file):
        raise unreadable(
            "it holds weights and not the module that takes them",
            "Name the function that builds the module: --option factory=FILE.py:FUNCTION.",
        )
    if code is not None:  # a script that was run pickles its classes as those of __main__
        main = sys.modules["__main__"]
        for name, held in vars(code).items():
            if not hasattr(main, name):
                setattr(main, name, held)
    held = torch.load(file, map_location=device, weights_only=False)
    if not isinstance(held, torch.nn.Module):
        raise unreadable(
            f"it holds a {type(held).__name__}, which is no module", "Save the module: torch.save(model, FILE)."
        )
    return held


def _only_weights(torch: Any, file: Path) -> bool:
    try:
        torch.load(file, map_location="cpu", weights_only=True, mmap=None)
    except Exception:  # noqa: BLE001 - it holds more, or is damaged: whoever opens it next says which
        return False
    return True


def _run(file: Path) -> Any:
    if str(file.parent) not in sys.path:  # last: what is installed is found first
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # where its classes are looked up by name
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError:
        raise
    except Exception as error:
        said = str(error).strip().split("\n", 1)[0][:300]
        raise unreadable(f"running {file.name} raised {type(error).__name__}: {said}", "Correct the file.") from error
    return module


def unreadable(why: str, fix: str) -> BadInputError:
    """The error for a file that gives no model."""
    return BadInputError("native.unreadable-model", "The PyTorch model's file cannot be used.", why=f"{why}.", fix=fix)
