"""Is a tokenizer beside a graph the folder's model? The examples, and texts that tokenizers get wrong, are asked."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.native_answers import Outputs, Run, agreement
from modelwright.adapters.frameworks.sklearn_advice import first_line
from modelwright.adapters.frameworks.tensor_proof import TOLERANCE
from modelwright.core.errors import RefusedError
from modelwright.core.package import Adversarial, Parity
from modelwright.native.text_answers import ENTITIES, TEXT

ROUNDED = 1e-4
"""What the rounding of an entity's score may add to a difference."""
KEPT = 6
_SPECIAL = ("[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "<mask>", "<s>", "</s>", "<unk>", "<pad>", "<|endoftext|>")
_ACCENTS = "Zürich, naïve Ångström, crème brûlée, Straße"
_TEXTS = (
    _ACCENTS,
    "",
    "one text with [MASK] in it, and </s> at its end </s>",
    "A 👩‍👩‍👧‍👦 and a 👍🏽 went to 🇺🇳 \N{PERFORMING ARTS}",
    "word " * 3000,
    unicodedata.normalize("NFD", _ACCENTS),
    " ",
    " \t two  spaces\r\n and\u00a0others\u2003 ",
    "UPPER lower MiXeD, don't; (brackets) [and] {others}: a/b\\c a_b #1 @x 3.14 1,000 50%",
    "東京は日本の首都です。서울은 대한민국의 수도이다",
    "مرحبا بالعالم שלום עולם Привет, мир",
    "zero\u200bwidth, soft\u00adhyphen, \ufeffmark, \ufb01ne, ① and ﷽",
    "control\x07 and \x1b[0m and \ufffd",
    "a" * 2000,
    "...!!!???---___",
    "\U0001d518\U0001d52b\U0001d526 \U00010348 \U0010fffd",
)


def texts(tokenizer: Any, examples: Iterable[str]) -> list[str]:
    """Texts that nobody sent yet: empty, far too long, with special words, accents, emoji and many scripts."""
    own = [str(word) for word in tokenizer.all_special_tokens]
    named = dict.fromkeys((*_SPECIAL, *own))
    some = list(examples)[:3]
    made = [*_TEXTS, " ".join(named), "".join(own), *(f"so {word} it{word}is" for word in own[:4])]
    return [*made, " ".join(some * 200)[:20000], *(text.upper() for text in some)]


def compared(original: Run, served: Run, feeds: Outputs) -> tuple[dict[str, NDArray[Any]], Parity]:
    """The answers to the examples as they will be served, and their certificate: all rows, one and two.

    Raises:
        RefusedError: ``pack.parity-failed``.
    """
    rows = len(feeds[TEXT])
    certified: Parity | None = None
    found: dict[str, NDArray[Any]] = {}
    for size in dict.fromkeys((1, min(2, rows), rows)):
        some = {TEXT: feeds[TEXT][:size]}
        wanted, found = original(some), _served(served, some)
        certified = _agreement(wanted, found)
        if not certified.holds:
            raise _differs(certified, str(feeds[TEXT][certified.worst_row].item()))
    assert certified is not None
    return found, certified


def beyond(original: Run, served: Run, made: list[str]) -> tuple[Adversarial, list[str]]:
    """What came of the texts: each alone, and the first six beside each other; and some that agree.

    Raises:
        RefusedError: ``pack.parity-failed``: one of them is answered otherwise.
    """
    batches = [[text] for text in made] + [made[:KEPT]]
    refused, differences, agreed = 0, [], []
    for some in batches:
        feeds = {TEXT: np.array([[text] for text in some], dtype=object)}
        try:
            wanted = original(feeds)
        except Exception:  # noqa: BLE001 - what the model itself refuses says nothing
            refused += len(some) == 1
            continue
        found = _agreement(wanted, _served(served, feeds))
        if not found.holds:
            raise _differs(found, some[found.worst_row])
        if len(some) == 1:
            differences.append(found.max_difference)
            agreed += some
    return Adversarial(
        rows=len(differences),
        refused=refused,
        differing=0,
        max_difference=float(max(differences, default=0.0)),
        mean_difference=float(np.mean(differences)) if differences else 0.0,
        label_flips=0,
        holds=True,
    ), agreed[:KEPT]


def _served(served: Run, feeds: Outputs) -> dict[str, NDArray[Any]]:
    try:
        return served(feeds)
    except Exception as error:
        raise RefusedError(
            "pack.parity-failed",
            f"The tokenizer and the graph do not answer {len(feeds[TEXT])} texts that the original answers.",
            why=f"{first_line(error)}.",
            fix="Leave --option network=onnx out: the folder runs with torch then.",
        ) from error


def _agreement(wanted: Outputs, found: Outputs) -> Parity:
    """Labels, entities and their places must be equal, numbers within the tolerance."""
    if ENTITIES not in wanted:
        return agreement(wanted, found, numeric_type="text", tolerance=TOLERANCE)
    width = max(len(json.loads(text)) for one in (wanted, found) for text in one[ENTITIES].tolist())
    return agreement(_apart(wanted, width), _apart(found, width), numeric_type="text", tolerance=TOLERANCE + ROUNDED)


def _apart(answers: Outputs, width: int) -> dict[str, NDArray[Any]]:
    """Entities without their scores [n], and the scores [n, width] beside them."""
    held = [json.loads(text) for text in answers[ENTITIES].tolist()]
    scores = np.full((len(held), width), -1.0)
    for row, found in enumerate(held):
        scores[row, : len(found)] = [one.pop("score") for one in found]
    return {ENTITIES: np.array([json.dumps(one) for one in held], dtype=object), "scores": scores}


def _differs(found: Parity, text: str) -> RefusedError:
    return RefusedError(
        "pack.parity-failed",
        "The tokenizer and the graph do not answer as the original does.",
        why=f"The largest difference is {found.max_difference:.3g} (allowed: {found.tolerance:g}), and "
        f"{found.label_flips} answers differ in a label or a word; the text begins {text[:40]!r}.",
        fix="Leave --option network=onnx out: the folder runs with torch then.",
        details={"worst_row": found.worst_row, "max_difference": found.max_difference},
    )
