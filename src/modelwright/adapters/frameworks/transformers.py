"""Packs folders of transformers models, opened in a jailed process only; pipelines in memory are saved to one first."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.extras import TORCH_FIRST, require
from modelwright.adapters.frameworks.python_file import beside
from modelwright.adapters.frameworks.source_digest import files_sha256
from modelwright.core.errors import BadInputError
from modelwright.core.native import Isolation
from modelwright.core.table import Table
from modelwright.ports.framework import NO_HINTS, Conversion, Hints, Route

FILE = "config.json"
OPTIONS = ("network", "task")
NETWORKS = ("auto", "onnx", "torch")
_HEADS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForImageClassification": "image-classification",
}
# Weights that another library reads, and the text about the model: nothing that serving opens.
_LEFT_OUT = frozenset({".md", ".h5", ".msgpack", ".ot", ".onnx", ".tflite", ".gguf", ".png", ".jpg", ".py"})


class TransformersFramework:
    """Packs folders that hold ``config.json``, weights and a tokenizer or an image processor.

    Args:
        timeout_seconds: how long the jailed process may take for one folder.
    """

    name = "transformers"

    def __init__(self, timeout_seconds: float = 600.0) -> None:
        self._timeout = timeout_seconds

    def owns(self, model: object) -> bool:
        """True for a folder whose ``config.json`` names a kind of model, and for a pipeline; imports nothing."""
        if isinstance(model, Path):
            return bool(_config(model).get("model_type"))
        return any(
            base.__name__ == "Pipeline" and base.__module__.startswith("transformers.") for base in type(model).__mro__
        )

    def convert(
        self,
        model: object | Path,
        examples: Table | None,
        *,
        target: str = "",
        route: Route = "auto",
        isolation: Isolation = "strict",
        hints: Hints = NO_HINTS,
    ) -> Conversion:
        """Ask the model about the examples, in a jailed process.

        See :func:`modelwright.adapters.frameworks.transformers_jailed.convert_opened`.

        Raises:
            BadInputError: ``pack.wrong-route`` where ONNX is asked for; ``pack.bad-option``,
                ``pack.unsupported-model``.
            RefusedError: ``pack.unconvertible``, ``pack.parity-failed`` with the option ``network=onnx``;
                ``pack.native-differs``, ``pack.not-repeatable``.
            UnavailableError: ``pack.converter-crashed``.
            DeadlineError: ``pack.converter-timeout``.
        """
        why = "Packing transformers models needs it; serving those whose network is a graph does not."
        require(("torch", "transformers"), self.name, why, first=TORCH_FIRST)
        hints.require_known(self.name, OPTIONS, tensors=True)
        if route == "onnx":
            raise BadInputError(
                "pack.wrong-route",
                "A transformers folder takes text or pictures, and its tokenizer runs as code.",
                why="Tokenizers have no conversion to ONNX that is proven to give the same tokens.",
                fix="Leave --onnx out, and give --option network=onnx: then the network is a graph, and the tokenizer "
                "runs beside it without torch. Or export the network alone (.pt2 or .onnx) and send it token ids.",
            )
        _network(hints, route)
        if isinstance(model, Path):
            return self._folder(model, examples, target, route, isolation, hints)
        held: Any = model
        with tempfile.TemporaryDirectory(prefix="modelwright-pack-") as folder:
            held.save_pretrained(folder)
            task = {"feature-extraction": "embeddings"}.get(held.task, held.task)
            given = Hints(hints.tensors, {"task": task} | dict(hints.options))
            return self._folder(Path(folder), examples, target, route, isolation, given)

    def _folder(
        self, folder: Path, examples: Table | None, target: str, route: Route, isolation: Isolation, hints: Hints
    ) -> Conversion:
        from modelwright.adapters.frameworks.jailed import convert_file  # lazy: only packing needs a process

        files = {name: path for name, path in beside(folder, FILE).items() if path.suffix not in _LEFT_OUT}
        made = convert_file(
            folder / FILE,
            examples,
            family=self.name,
            target=target,
            timeout_seconds=self._timeout,
            route="native",
            isolation=isolation,
            beside=files,
            hints=Hints(hints.tensors, {"task": _task(folder, hints), "network": _network(hints, route)}),
        )
        return replace(made, notes=made.notes | {"source_sha256": files_sha256({FILE: folder / FILE, **files})})


def _network(hints: Hints, route: Route) -> str:
    """What runs the network: ``auto`` is ONNX Runtime where that is proven; ``native`` converts nothing."""
    said = hints.options.get("network") or ("torch" if route == "native" else "auto")
    if said not in NETWORKS:
        raise BadInputError(
            "pack.bad-option",
            f"A network is not run by {said!r}.",
            fix=f"Write --option network= and one of {', '.join(NETWORKS)}.",
        )
    return said


def _task(folder: Path, hints: Hints) -> str:
    from modelwright.native.text_answers import TASKS  # lazy: owning a folder needs none of it

    said = hints.options.get("task", "")
    if said:
        if said not in TASKS:
            raise BadInputError(
                "pack.bad-option", f"There is no task {said!r}.", fix=f"Write --option task= and {', '.join(TASKS)}."
            )
        return said
    names = _config(folder).get("architectures") or [""]
    for ending, task in _HEADS.items():
        if str(names[0]).endswith(ending):
            return task
    if "For" not in str(names[0]) or (folder / "1_Pooling").is_dir():
        return "embeddings"
    raise BadInputError(
        "pack.unsupported-model",
        f"A {names[0]} cannot be packed as a folder.",
        why=f"Packed are: {', '.join(TASKS)}.",
        fix="Name the task with --option task=, or write a model.py with predict (and stream) around it.",
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
