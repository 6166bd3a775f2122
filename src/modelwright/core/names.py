"""The one rule for names, and suggestions for names that are not there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from modelwright.core.errors import BadInputError

NAME_RULE = r"^[a-z0-9][a-z0-9._-]{0,62}$"
_NAME = re.compile(NAME_RULE.removesuffix("$"))


def require_model_name(name: str) -> None:
    """Check a model's name against :data:`NAME_RULE`.

    Raises:
        BadInputError: ``register.bad-name``.
    """
    if not _NAME.fullmatch(name):
        raise BadInputError(
            "register.bad-name",
            f"{name[:80]!r} cannot be the name of a model.",
            why="A name has 1 to 63 characters: a-z, 0-9, '.', '_' and '-', and starts with a letter or digit.",
            fix="Choose a name such as 'flight-delay'.",
        )


def require_alias_name(name: str) -> None:
    """Check an alias: the rule of model names, and not a number, which would read as a version.

    Raises:
        BadInputError: ``register.bad-alias``.
    """
    if not _NAME.fullmatch(name) or name.isdigit():
        raise BadInputError(
            "register.bad-alias",
            f"{name[:80]!r} cannot be an alias.",
            why="An alias has 1 to 63 characters: a-z, 0-9, '.', '_' and '-', and is not a number.",
            fix="Choose a name such as 'champion'.",
        )


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence naming the closest known name, or what there is; empty when nothing is known.

    Closeness is the ratio of ``difflib`` (Ratcliff and Obershelp), at least 0.6.
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    if not names:
        return ""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"There is {', '.join(repr(one) for one in names[:5])}{more}."
