"""Opens a folder of a transformers model: text to labels, words or vectors, pictures to labels."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    IMAGE,
    Feeds,
    Task,
    as_json,
    labelled,
    texts_of,
)
from modelwright.native.torch_model import as_numpy

_MODULES = {"Transformer", "Pooling", "Normalize"}
_POOLED = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
Reduce = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """A folder's model: call it with texts or pictures.

    ``tokenizer``, the ``model`` of torch, and what makes one tensor of the model's answer and of the tokens
    (``reduce``) are what it answers texts with; None for pictures. ``most`` is the number of tokens that are taken,
    ``classes`` are the labels in the order of the network's outputs.
    """

    answer: Callable[[Feeds], dict[str, Any]]
    tokenizer: Any = None
    model: Any = None
    reduce: Reduce | None = None
    most: int = 0
    classes: tuple[str, ...] = ()

    def __call__(self, feeds: Feeds) -> dict[str, Any]:
        """The answers, by the names of outputs."""
        return self.answer(feeds)


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


def open_folder(folder: Path, task: Task, device: str = "cpu") -> OpenFolder:
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


def several_labels(config: Any) -> bool:
    """True where the configuration says that several labels may hold at once."""
    return bool(config.problem_type == "multi_label_classification")


def _classes(model: Any) -> tuple[str, ...]:
    return tuple(str(model.config.id2label[index]) for index in range(model.config.num_labels))


def _text_classifier(transformers: Any, folder: Path, device: str) -> OpenFolder:
    tokenizer, model = _pair(transformers, "AutoModelForSequenceClassification", folder, device)
    names = _classes(model)
    classes = np.array(names, dtype=object)
    several, most = several_labels(model.config), _most(tokenizer, model)

    def answer(feeds: Feeds) -> dict[str, Any]:
        return labelled(_in_turns(tokenizer, model, feeds, _logits, device), classes, several=several)

    return OpenFolder(answer, tokenizer, model, _logits, most, names)


def _logits(said: Any, _asked: Any) -> Any:
    return said.logits


def _embedder(transformers: Any, folder: Path, device: str) -> OpenFolder:
    """The mean over the tokens that are no padding, or what ``1_Pooling/config.json`` of sentence-transformers says."""
    import torch  # lazy: as above

    pooling, normal = _pooling(folder)
    tokenizer, model = _pair(transformers, "AutoModel", folder, device)
    limit = folder / "sentence_bert_config.json"
    if limit.is_file():
        most = json.loads(limit.read_bytes()).get("max_seq_length")
        tokenizer.model_max_length = int(most or tokenizer.model_max_length)

    def pooled(said: Any, asked: Any) -> Any:
        hidden, mask = said.last_hidden_state, asked["attention_mask"].unsqueeze(-1)
        if pooling == "cls":
            found = hidden[:, 0]
        elif pooling == "max":
            found = hidden.masked_fill(mask == 0, float("-inf")).max(dim=1).values
        else:
            found = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return torch.nn.functional.normalize(found, dim=1) if normal else found

    def answer(feeds: Feeds) -> dict[str, Any]:
        return {EMBEDDING: _in_turns(tokenizer, model, feeds, pooled, device).astype(np.float32)}

    return OpenFolder(answer, tokenizer, model, pooled, _most(tokenizer, model))


def _pooling(folder: Path) -> tuple[str, bool]:
    """How sentence-transformers makes a vector of those of the tokens, and whether its length is one then.

    Raises:
        ValueError: in a way that is not known here.
    """
    said, listed = folder / "1_Pooling" / "config.json", folder / "modules.json"
    modules = json.loads(listed.read_bytes()) if listed.is_file() else []
    kinds = [str(one.get("type", "")).rpartition(".")[2] for one in modules]
    other = sorted({*kinds} - _MODULES)
    if other:
        raise ValueError(f"its vectors also go through {other[0]} of sentence-transformers, which is not known here")
    config = json.loads(said.read_bytes()) if said.is_file() else {}
    modes = config.get("pooling_mode") or [mode for name, mode in _POOLED.items() if config.get(name)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in {"cls", "max", "mean"}:
        raise ValueError(f"its vectors are pooled by {', '.join(map(str, modes))}, which is not known here")
    return modes[0], "Normalize" in kinds


def _token_classifier(transformers: Any, folder: Path, device: str) -> OpenFolder:
    """One JSON list for each text: what the library's pipeline finds, neighbouring tokens of one kind joined."""
    tokenizer, model = _pair(transformers, "AutoModelForTokenClassification", folder, device)
    tokenizer.model_max_length = most = _most(tokenizer, model)  # the pipeline asks no one else how long a text may be
    found = transformers.pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple", device=device
    )

    def answer(feeds: Feeds) -> dict[str, Any]:
        said = [found(text) if text else [] for text in texts_of(feeds)]
        return {ENTITIES: np.array([as_json(one) for one in said], dtype=object)}

    return OpenFolder(answer, tokenizer, model, _logits, most, _classes(model))


def _image_classifier(transformers: Any, folder: Path, device: str) -> OpenFolder:
    import torch  # lazy: as above

    processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    model = _model(transformers, "AutoModelForImageClassification", folder, device)
    names = _classes(model)
    classes = np.array(names, dtype=object)
    several = several_labels(model.config)

    def answer(feeds: Feeds) -> dict[str, Any]:
        pictures = list(feeds[IMAGE])
        asked = processor(images=pictures, return_tensors="pt", input_data_format="channels_last").to(device)
        with torch.inference_mode():
            return labelled(as_numpy(model(**asked).logits), classes, several=several)

    return OpenFolder(answer, classes=names)


_OPENERS: Mapping[Task, Callable[..., OpenFolder]] = {
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


def _in_turns(tokenizer: Any, model: Any, feeds: Feeds, reduce: Reduce, device: str) -> NDArray[Any]:
    """The network's answers to all texts, some at a time; the longest text that the model takes is cut."""
    import torch  # lazy: as above

    texts = texts_of(feeds)
    found = []
    with torch.inference_mode():
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
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
