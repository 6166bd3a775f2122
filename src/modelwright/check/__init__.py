"""``Package`` + labelled rows -> ``Verdict``.

The stage's one rule: every figure comes with its rows and its interval, and every refusal names the gate, the figure
and what to do next.
"""

from modelwright.check.check import check, split_target
from modelwright.check.wording import explain, verdict_from_json, verdict_json

__all__ = ["check", "explain", "split_target", "verdict_from_json", "verdict_json"]
