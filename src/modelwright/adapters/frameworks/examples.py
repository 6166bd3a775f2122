"""The rows that a model is proven on."""

from __future__ import annotations

from modelwright.core.errors import BadInputError
from modelwright.core.table import Table


def require_examples(examples: Table | None, why: str) -> Table:
    """The examples, where there are any; ``why`` says what for.

    Raises:
        BadInputError: ``pack.no-examples``.
    """
    if examples is None or len(examples) == 0:
        raise BadInputError(
            "pack.no-examples",
            "There are no examples.",
            why=why,
            fix="Give some hundreds of rows held out from training: --data FILE, or examples= in Python.",
        )
    return examples
