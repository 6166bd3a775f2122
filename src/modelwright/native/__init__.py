"""Models that run as code: opened and asked only inside a jailed process."""

from modelwright.native.opening import open_model

__all__ = ["open_model"]
