"""A transformers folder as three files that need neither torch nor transformers: settings, tokenizer, ONNX graph."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from modelwright.adapters.frameworks.exchange import MAX_BYTES
from modelwright.adapters.frameworks.sklearn_advice import first_line
from modelwright.adapters.frameworks.tensor_inputs import Typed
from modelwright.core.errors import RefusedError
from modelwright.core.signature import Signature, TensorSpec
from modelwright.native.text_answers import Task
from modelwright.native.tokenized_model import NETWORK, SETTINGS, TOKENIZER, TOKENS, Settings
from modelwright.native.transformers_model import OpenFolder, several_labels

_ASKED = ("a few words of a text to be read by the network", "two words", "and some more, to be read beside them")
"""What the network is traced with: several texts of several lengths, since a size of one is taken for a constant."""
_TORCH = "Leave --option network=onnx out: the folder runs with torch then."


def as_files(model: OpenFolder, task: Task) -> dict[str, bytes]:
    """The files of a package that is opened by the loader ``tokenized``.

    Raises:
        RefusedError: ``pack.unconvertible``.
    """
    if find_spec("onnxscript") is None or find_spec("onnx") is None:
        raise RefusedError(
            "pack.unconvertible",
            "onnxscript is not installed.",
            why="Exporting the network to ONNX needs it.",
            fix="pip install 'modelwright[torch]'",
        )
    tokenizer = _tokenizer(model)
    unknown = model.tokenizer.unk_token_id
    settings = Settings(
        task=task,
        classes=model.classes,
        several=several_labels(model.model.config),
        unknown=-1 if unknown is None else int(unknown),
        split_special=bool(model.tokenizer.split_special_tokens),
    )
    files = {SETTINGS: settings.content(), TOKENIZER: tokenizer, NETWORK: _graph(model)}
    if sum(map(len, files.values())) > MAX_BYTES:
        raise RefusedError(
            "pack.unconvertible",
            "The network is too large for one ONNX graph.",
            why=f"It takes more than {MAX_BYTES >> 30} GiB.",
            fix=_TORCH,
        )
    return files


def _tokenizer(model: OpenFolder) -> bytes:
    """What ``tokenizers.Tokenizer.from_str`` opens: the tokenizer as it is in memory, padding and cutting as here."""
    held = model.tokenizer
    if not getattr(held, "is_fast", False):
        raise RefusedError(
            "pack.unconvertible",
            f"The {type(held).__name__} is written in Python.",
            why="Only fast tokenizers can be opened by the library tokenizers.",
            fix="Save the folder with a fast tokenizer (tokenizer.json).",
        )
    try:
        held(list(_ASKED), padding=held.pad_token is not None, truncation=True, max_length=model.most)
        return str(held.backend_tokenizer.to_str()).encode()
    except Exception as error:
        raise RefusedError(
            "pack.unconvertible",
            f"The {type(held).__name__} cannot be written as one file.",
            why=f"{type(error).__name__}: {first_line(error)}.",
            fix=_TORCH,
        ) from error


def _graph(model: OpenFolder) -> bytes:
    """The network as a graph: tokens [n, length] of any n and length -> the one tensor that an answer is made of."""
    from modelwright.adapters.frameworks.torch_export import to_onnx  # lazy: onnxscript may be missing
    from modelwright.native.torch_model import of_module

    try:
        padded = model.tokenizer.pad_token is not None
        asked = list(_ASKED) if padded else [_ASKED[0]] * 2
        held = model.tokenizer(asked, return_tensors="np", padding=padded, truncation=True, max_length=model.most)
        tokens = {name: held[name] for name in TOKENS if name in held}
        signature = Signature(tuple(TensorSpec(name, "INT64", (-1, -1)) for name in tokens), ())
        with _plain_attention(model.model):
            return to_onnx(of_module(_network(model)), Typed("INT64", signature, tokens), ["answer"])
    except RefusedError:
        raise
    except Exception as error:  # whatever it is, the folder may still run as it is
        raise RefusedError(
            "pack.unconvertible",
            f"The network of {type(model.model).__name__} has no conversion to ONNX.",
            why=f"{type(error).__name__}: {first_line(error)}.",
            fix=_TORCH,
        ) from error


@contextlib.contextmanager
def _plain_attention(model: Any) -> Iterator[None]:
    """Attention in plain operators: torch's own has guards against rows that are masked altogether, which cost time."""
    written = model.config._attn_implementation  # noqa: SLF001 - told by nothing public
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(written)


def _network(model: OpenFolder) -> Any:
    """The model and what follows it up to one tensor, as one module."""
    import torch  # lazy: heavy

    held = model.model
    assert model.reduce is not None
    reduce = model.reduce

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.held = held

        def forward(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Any:
            named = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            asked = {name: tensor for name, tensor in named.items() if tensor is not None}
            return reduce(self.held(**asked), asked)

    return Network().eval()
