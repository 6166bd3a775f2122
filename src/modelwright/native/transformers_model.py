"""Opens a folder of a transformers model: text to labels, words or vectors, pictures to labels."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature
from modelwright.native.torch_model import as_numpy

Feeds = Mapping[str, NDArray[Any]]
Task = Literal["text-classification", "token-classification", "embeddings", "image-classification"]
TASKS: tuple[Task, ...] = ("text-classification", "token-classification", "embeddings", "image-classification")
TEXT, IMAGE = "text", "image"
LABEL, SCORES, ENTITIES, EMBEDDING = "label", "probabilities", "entities", "embedding"
_AT_ONCE = 32
"""Texts of one run of the network: padded to the longest among them."""


def open_transformers(file: Path, signature: Signature, *, device: str = "cpu") -> Callable[[Feeds], dict[str, Any]]:
    """Open the folder that ``config.json`` lies in, without any network, and give what answers.

    The task is known by the outputs that the signature names.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    outputs = {spec.name for spec in signature.outputs}
    if ENTITIES in outputs:
        task: Task = "token-classification"
    elif EMBEDDING in outputs:
        task = "embeddings"
    else:
        task = "image-classification" if signature.inputs[0].name == IMAGE else "text-classification"
    return open_folder(file.parent, task, device)


def open_folder(folder: Path, task: Task, device: str = "cpu") -> Callable[[Feeds], dict[str, Any]]:
    """What answers texts or pictures with the folder's model.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    # Nothing is looked up, reported or cached: the process has no network and no home.
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import transformers  # lazy: only this loader needs it
    except ImportError as error:
        raise _unreadable("transformers is not installed here", "pip install 'modelwright[transformers]'") from error
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        return _OPENERS[task](transformers, folder, device)
    except Exception as error:
        said = str(error).strip().split("\n", 1)[0][:300]
        raise _unreadable(
            f"{type(error).__name__}: {said}",
            "Save model and tokenizer into one folder with save_pretrained, without code of your own.",
        ) from error


def classes_of(folder: Path) -> tuple[str, ...]:
    """The labels in the order of the network's outputs."""
    labels = json.loads((folder / "config.json").read_bytes()).get("id2label") or {}
    return tuple(str(name) for _, name in sorted((int(index), name) for index, name in labels.items()))


def _text_classifier(transformers: Any, folder: Path, device: str) -> Callable[[Feeds], dict[str, Any]]:
    tokenizer, model = _pair(transformers, "AutoModelForSequenceClassification", folder, device)
    classes = np.array([model.config.id2label[index] for index in range(model.config.num_labels)], dtype=object)

    def answer(feeds: Feeds) -> dict[str, Any]:
        return _labelled(_in_turns(tokenizer, model, feeds, lambda said, _: said.logits, device), classes, model.config)

    return answer


def _labelled(logits: NDArray[Any], classes: NDArray[Any], config: Any) -> dict[str, Any]:
    """Sigmoid where several labels hold at once or there is one only, softmax otherwise."""
    wide = logits.astype(np.float64)
    if config.problem_type == "multi_label_classification" or len(classes) == 1:
        scores = 1 / (1 + np.exp(-wide))
    else:
        scores = np.exp(wide - wide.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    return {LABEL: classes[logits.argmax(axis=1)], SCORES: scores.astype(np.float32)}


def _embedder(transformers: Any, folder: Path, device: str) -> Callable[[Feeds], dict[str, Any]]:
    """The mean over the tokens that are no padding, or what ``1_Pooling/config.json`` of sentence-transformers says."""
    import torch  # lazy: as above

    tokenizer, model = _pair(transformers, "AutoModel", folder, device)
    said = folder / "1_Pooling" / "config.json"
    pooling = json.loads(said.read_bytes()) if said.is_file() else {}
    modules = folder / "modules.json"
    normal = modules.is_file() and any(
        str(one.get("type", "")).endswith("Normalize") for one in json.loads(modules.read_bytes())
    )
    limit = folder / "sentence_bert_config.json"
    if limit.is_file():
        tokenizer.model_max_length = int(
            json.loads(limit.read_bytes()).get("max_seq_length", tokenizer.model_max_length)
        )

    def pooled(said: Any, asked: Any) -> Any:
        hidden, mask = said.last_hidden_state, asked["attention_mask"].unsqueeze(-1)
        if pooling.get("pooling_mode_cls_token"):
            found = hidden[:, 0]
        elif pooling.get("pooling_mode_max_tokens"):
            found = hidden.masked_fill(mask == 0, float("-inf")).max(dim=1).values
        else:
            found = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return torch.nn.functional.normalize(found, dim=1) if normal else found

    return lambda feeds: {EMBEDDING: _in_turns(tokenizer, model, feeds, pooled, device).astype(np.float32)}


def _token_classifier(transformers: Any, folder: Path, device: str) -> Callable[[Feeds], dict[str, Any]]:
    """One JSON list for each text: what the library's pipeline finds, neighbouring tokens of one kind joined."""
    tokenizer, model = _pair(transformers, "AutoModelForTokenClassification", folder, device)
    found = transformers.pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple", device=device
    )

    def answer(feeds: Feeds) -> dict[str, Any]:
        said = [found(text) if text else [] for text in _texts(feeds)]
        return {ENTITIES: np.array([_as_json(one) for one in said], dtype=object)}

    return answer


def _as_json(entities: list[dict[str, Any]]) -> str:
    plain = [
        {
            "entity": str(one["entity_group"]),
            "score": round(float(one["score"]), 4),
            "word": str(one["word"]),
            "start": int(one["start"]),
            "end": int(one["end"]),
        }
        for one in entities
    ]
    return json.dumps(plain, ensure_ascii=False)


def _image_classifier(transformers: Any, folder: Path, device: str) -> Callable[[Feeds], dict[str, Any]]:
    import torch  # lazy: as above

    processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    model = _model(transformers, "AutoModelForImageClassification", folder, device)
    classes = np.array([model.config.id2label[index] for index in range(model.config.num_labels)], dtype=object)

    def answer(feeds: Feeds) -> dict[str, Any]:
        pictures = list(feeds[IMAGE])
        asked = processor(images=pictures, return_tensors="pt", input_data_format="channels_last").to(device)
        with torch.inference_mode():
            return _labelled(as_numpy(model(**asked).logits), classes, model.config)

    return answer


_OPENERS: Mapping[Task, Callable[..., Callable[[Feeds], dict[str, Any]]]] = {
    "text-classification": _text_classifier,
    "token-classification": _token_classifier,
    "embeddings": _embedder,
    "image-classification": _image_classifier,
}


def _pair(transformers: Any, kind: str, folder: Path, device: str) -> tuple[Any, Any]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return tokenizer, _model(transformers, kind, folder, device)


def _model(transformers: Any, kind: str, folder: Path, device: str) -> Any:
    made = getattr(transformers, kind).from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return made.to(device).eval()


def _texts(feeds: Feeds) -> list[str]:
    return [str(text) for text in feeds[TEXT].reshape(-1).tolist()]


def _in_turns(tokenizer: Any, model: Any, feeds: Feeds, reduce: Callable[[Any, Any], Any], device: str) -> NDArray[Any]:
    """The network's answers to all texts, some at a time; the longest text that the model takes is cut."""
    import torch  # lazy: as above

    texts = _texts(feeds)
    found = []
    with torch.inference_mode():
        for start in range(0, len(texts), _AT_ONCE):
            some = texts[start : start + _AT_ONCE]
            asked = tokenizer(
                some, return_tensors="pt", padding=True, truncation=True, max_length=_most(tokenizer, model)
            )
            asked = asked.to(device)
            found.append(as_numpy(reduce(model(**asked), asked)))
    return np.concatenate(found)


def _most(tokenizer: Any, model: Any) -> int:
    """Tokens that the model has positions for; a tokenizer that knows no limit says a huge number."""
    return int(min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None) or 2**31))


def _unreadable(why: str, fix: str) -> BadInputError:
    return BadInputError("native.unreadable-model", "The folder's model cannot be used.", why=f"{why}.", fix=fix)
