"""One PyTorch module over several devices, its layers in order; what they cannot hold is read from the disk."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from modelwright.core.errors import BadInputError

_FREE_PART = 0.9
"""Of a device's free memory; the rest is for what flows between the layers."""


def over_devices(module: Any, devices: Sequence[str], limits: Sequence[int] = ()) -> tuple[Callable[..., Any], str]:
    """The module with its layers on ``devices``, and the device that takes its input.

    Args:
        module: on the CPU. Its layers stay whole where ``_no_split_modules`` names their class.
        devices: as PyTorch names them.
        limits: bytes on each; nine tenths of what is free where not given.

    Raises:
        BadInputError: ``native.missing-library``.
    """
    try:
        from accelerate import dispatch_model, infer_auto_device_map  # lazy: only a model that is split needs it
    except ImportError as error:
        raise BadInputError(
            "native.missing-library",
            "The model is to be split over devices, and accelerate is not installed here.",
            fix="Install it with: pip install 'modelwright[torch]'",
        ) from error

    room = {_key(name): size for name, size in zip(devices, limits or map(_free, devices), strict=True)}
    if "cpu" not in room:  # what the devices cannot hold
        room["cpu"] = _free("cpu")
    whole = getattr(module, "_no_split_modules", None) or []
    places = infer_auto_device_map(module, max_memory=room, no_split_module_classes=list(whole))
    offloaded = None
    if "disk" in places.values():
        offloaded = tempfile.mkdtemp(prefix="modelwright-split-")
        weakref.finalize(module, shutil.rmtree, offloaded, ignore_errors=True)
    main = next((place for place in places.values() if place not in {"cpu", "disk"}), "cpu")
    held = dispatch_model(module, device_map=places, main_device=main, offload_dir=offloaded, force_hooks=True)
    return held, f"cuda:{main}" if isinstance(main, int) else str(main)


def _key(device: str) -> int | str:
    """Accelerate's name of a device: the number of one of CUDA."""
    kind, _, number = device.partition(":")
    return int(number or 0) if kind == "cuda" else kind


def _free(device: str) -> int:
    import torch  # lazy: as above

    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _FREE_PART)
    return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _FREE_PART)
