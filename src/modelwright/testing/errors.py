"""What an error is judged by in the conformance classes: its stable code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelwright.core.errors import ModelwrightError


def error_code(call: Callable[..., object], *arguments: Any, **named: Any) -> str:
    """The code of the error a call raises, or an empty string when it raises none."""
    try:
        call(*arguments, **named)
    except ModelwrightError as error:
        return error.code
    return ""
