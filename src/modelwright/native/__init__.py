"""Models that run as code: opened and asked only inside a jailed process."""

from modelwright.native.abilities import Sequence
from modelwright.native.opening import OpenModel, open_model

__all__ = ["OpenModel", "Sequence", "open_model"]
