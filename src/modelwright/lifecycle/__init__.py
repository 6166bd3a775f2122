"""The stories: each a durable workflow, each arrow between stages one line. Only stories write to the ledger.

``STORIES`` maps a story's name to the callable that a :class:`~modelwright.ports.workflow.Workflow` runs. Arguments
and results are JSON objects:

* ``release`` {artifact, name, data, target, reference, reason, actor, canary} and
  ``renew`` {model, cause, reason, actor, since, until} ->
  {"outcome": "promoted" | "refused" | "rolled-back", "version", "digest", "verdict", "why"} (renew: and "rows")
* ``promote`` {model, version, reason, actor} and ``rollback`` {model, to, reason, actor} ->
  {"outcome", "version", "from", "why"}
* ``shadow`` {model, version, reason, actor} -> {"version", "shadows"}
* ``watch`` {model, since, until, actor} -> {"report", "report_id", "order", "undelivered"}
* ``keep`` {} -> {"models": {name: {"findings", "rows", "order"}}, "orders": [...]}

An order's ``key`` is the key its ``renew`` story runs under; :func:`modelwright.lifecycle.keep.carry_out` starts the
orders that have no story yet.
"""

from __future__ import annotations

from modelwright.lifecycle.keep import keep
from modelwright.lifecycle.promote import promote
from modelwright.lifecycle.release import release
from modelwright.lifecycle.renew import renew
from modelwright.lifecycle.rollback import rollback
from modelwright.lifecycle.rollout import republish
from modelwright.lifecycle.shadow import shadow
from modelwright.lifecycle.watch import watch
from modelwright.ports.workflow import Story

STORIES: dict[str, Story] = {
    "release": release,
    "renew": renew,
    "promote": promote,
    "rollback": rollback,
    "shadow": shadow,
    "watch": watch,
    "keep": keep,
}

__all__ = ["STORIES", "republish"]
