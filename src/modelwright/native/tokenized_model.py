"""Opens a tokenizer beside an ONNX graph of a network: text to labels, words or vectors.

Needs ``tokenizers`` and ``onnxruntime``, and neither torch nor transformers, whose fast tokenizers run on the same
library.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature
from modelwright.native.text_answers import (
    AT_ONCE,
    EMBEDDING,
    ENTITIES,
    Feeds,
    Task,
    Token,
    as_json,
    entities,
    labelled,
    texts_of,
)

SETTINGS, TOKENIZER, NETWORK = "tokenized.json", "tokenizer.json", "network.onnx"
TOKENS: Mapping[str, str] = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""Inputs that a network may have, INT64 [n, tokens], and what an encoding of the library ``tokenizers`` calls them."""
_QUIET, _CUDA = 4, "CUDAExecutionProvider"


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``tokenized.json`` says besides the tokenizer and the graph.

    ``classes`` are the labels in the order of the network's outputs, ``several`` of which may hold at once.
    ``unknown`` is the token that stands for what the tokenizer does not know, -1 where there is none;
    ``split_special``: special words in a text are taken as any others.
    """

    task: Task
    classes: tuple[str, ...] = ()
    several: bool = False
    unknown: int = -1
    split_special: bool = False

    def content(self) -> bytes:
        """The file."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True).encode()


def open_tokenized(
    file: Path, signature: Signature, *, device: str = "cpu", threads: int = 1
) -> Callable[[Feeds], dict[str, Any]]:
    """Open the tokenizer and the graph beside ``tokenized.json``, and give what answers texts.

    Args:
        file: ``tokenized.json``.
        signature: not asked: the settings name the task.
        device: as PyTorch names it; ONNX Runtime must have been built for another one than the CPU.
        threads: of ONNX Runtime, for one run.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    del signature
    return open_parts(file, file.parent / TOKENIZER, file.parent / NETWORK, device=device, threads=threads)


def open_parts(
    settings: Path | bytes, tokenizer: Path | bytes, network: Path | bytes, *, device: str = "cpu", threads: int = 1
) -> Callable[[Feeds], dict[str, Any]]:
    """As :func:`open_tokenized`, of files or of what they hold.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read once, at the first text
    try:
        import tokenizers  # lazy: only this loader needs it
    except ImportError as error:
        raise _unreadable("tokenizers is not installed here", "pip install 'modelwright[tokenized]'") from error
    try:
        said = json.loads(_held(settings))
        told = Settings(**said | {"classes": tuple(said["classes"])})
        opened = tokenizers.Tokenizer.from_str(_held(tokenizer).decode())
        opened.encode_special_tokens = told.split_special
        graph = Network(_session(network, device, threads))
    except BadInputError:
        raise
    except Exception as error:
        first = str(error).strip().split("\n", 1)[0][:300]
        raise _unreadable(f"{type(error).__name__}: {first}", "Pack the model again.") from error
    return _answering(told, opened, graph)


def _held(file: Path | bytes) -> bytes:
    return file if isinstance(file, bytes) else file.read_bytes()


class Network:
    """The graph of a network: tokens [n, length] -> logits [n, classes], [n, length, classes] or vectors [n, d].

    Args:
        session: of ONNX Runtime, with one output.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = {held.name: TOKENS[held.name] for held in session.get_inputs()}

    def __call__(self, encodings: list[Any]) -> NDArray[Any]:
        """Its answer to texts of one length, padded."""
        given = {
            name: np.array([getattr(one, kept) for one in encodings], dtype=np.int64)
            for name, kept in self._inputs.items()
        }
        (found,) = self._session.run(None, given)
        answer: NDArray[Any] = found
        return answer


def _answering(settings: Settings, tokenizer: Any, network: Network) -> Callable[[Feeds], dict[str, Any]]:
    def in_turns(feeds: Feeds) -> NDArray[Any]:
        texts = texts_of(feeds)
        turns = [texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE)]
        return np.concatenate([network(tokenizer.encode_batch(some)) for some in turns])

    if settings.task == "token-classification":
        return lambda feeds: {ENTITIES: np.array(_words(settings, tokenizer, network, feeds), dtype=object)}
    if settings.task == "embeddings":
        return lambda feeds: {EMBEDDING: in_turns(feeds).astype(np.float32)}
    classes = np.array(settings.classes, dtype=object)
    return lambda feeds: labelled(in_turns(feeds), classes, several=settings.several)


def _words(settings: Settings, tokenizer: Any, network: Network, feeds: Feeds) -> list[str]:
    """One JSON list for each text. Each runs alone, as in the library's pipeline: no padding, so no other rounding."""
    decoder = tokenizer.decoder
    joined = " ".join if decoder is None else decoder.decode
    found = []
    for text in texts_of(feeds):
        tokens: list[Token] = []
        if text:
            encoding = tokenizer.encode(text)
            tokens = _tokens(settings, tokenizer, text, encoding, network([encoding])[0])
        found.append(as_json(entities(tokens, joined)))
    return found


def _tokens(settings: Settings, tokenizer: Any, text: str, encoding: Any, logits: NDArray[Any]) -> list[Token]:
    """The tokens of a text with their likeliest labels; logits [length, classes]."""
    scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    best = scores.argmax(axis=-1)
    found = []
    for place, (special, number, (start, end)) in enumerate(
        zip(encoding.special_tokens_mask, encoding.ids, encoding.offsets, strict=True)
    ):
        if special:
            continue
        word = text[start:end] if number == settings.unknown else tokenizer.id_to_token(number)
        found.append(Token(word, start, end, settings.classes[best[place]], scores[place, best[place]]))
    return found


def _session(graph: Path | bytes, device: str, threads: int) -> Any:
    import onnxruntime  # lazy: packages of other loaders do without

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    if threads > 1:  # threads that spin between two runs take the processor from other models
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _QUIET
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # else the longest text's memory is never back
    return onnxruntime.InferenceSession(graph, options, providers=_providers(onnxruntime, device))


def _providers(onnxruntime: Any, device: str) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    kind, _, number = device.partition(":")
    if kind != "cuda" or _CUDA not in onnxruntime.get_available_providers():
        raise _unreadable(
            f"the ONNX Runtime that is installed here cannot use {device} for it",
            "Serve it on the CPU (--device cpu), put onnxruntime-gpu in the place of onnxruntime, or pack it with "
            "--option network=torch",
        )
    return [(_CUDA, {"device_id": number or "0"}), "CPUExecutionProvider"]


def _unreadable(why: str, fix: str) -> BadInputError:
    return BadInputError(
        "native.unreadable-model", "The tokenizer and the network cannot be used.", why=f"{why}.", fix=f"{fix}."
    )
