"""One round of keeping: every deployed model is watched, and what is due is ordered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from modelwright.core.errors import ModelwrightError
from modelwright.lifecycle.policies import policy_of
from modelwright.lifecycle.rollout import CHAMPION
from modelwright.lifecycle.watch import watch
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps, Workflow

T = TypeVar("T")
KEEPER = "modelwright"  # the actor of what nobody asked for by hand
RECENT_ORDERS = 20  # how far back an order without a story is looked for
LEAST_ROWS = 200  # a window with fewer rows stays open, and the next round looks at a longer one

SETTLE_SECONDS = 5.0
"""What began less long ago is left for the next round: a slower request must not be logged into a closed window."""


@dataclass(frozen=True, slots=True)
class StepsOf:
    """A part of a story with keys and step names of its own."""

    steps: Steps
    part: str

    @property
    def key(self) -> str:
        """The story's key and the part."""
        return f"{self.steps.key}/{self.part}"

    def do(self, name: str, work: Callable[[], T]) -> T:
        """A step named after the part."""
        return self.steps.do(f"{self.part}: {name}", work)

    def sleep(self, seconds: float) -> None:
        """Wait, durably."""
        self.steps.sleep(seconds)


def keep(platform: Platform, steps: Steps, arguments: Json) -> Json:
    """Watch every model that has a champion, over the event time since its last kept report.

    One model's trouble does not keep the others from being watched.

    Returns:
        ``models`` (name to findings, rows, order or error) and ``orders`` (those made in this round).
    """
    del arguments
    windows = steps.do("models", lambda: windows_of(platform))
    models: Json = {}
    for model, window in windows.items():
        asked = {"model": model, "actor": KEEPER, "least_rows": LEAST_ROWS, "settle_seconds": SETTLE_SECONDS, **window}
        try:
            watched = watch(platform, StepsOf(steps, model), asked)
        except ModelwrightError as error:
            models[model] = {"error": error.to_json()}
            continue
        report = watched["report"]
        models[model] = {"findings": len(report["findings"]), "rows": report["rows"], "order": watched["order"]}
    return {"models": models, "orders": [seen["order"] for seen in models.values() if seen.get("order")]}


def windows_of(platform: Platform) -> Json:
    """Deployed models to the window that their next look covers."""
    windows: Json = {}
    for model in platform.versions.models():
        if not platform.versions.alias(model, CHAMPION):
            continue
        reports = platform.findings.reports(model, limit=1)
        last = reports[0].window if reports else None
        now = platform.clock.now()
        # A window that somebody looked at by hand may end in the future; time goes on all the same.
        follows = reports[0].ends if reports else 0.0
        windows[model] = {"since": min(last.until, now - 1.0) if last else None, "until": None, "follows": follows}
    return windows


def carry_out(platform: Platform, workflow: Workflow) -> list[str]:
    """Take over what dead processes left, and start ``renew`` for every order that has no story yet; their keys.

    The orders are the outbox: an order that was written down before a crash is carried out after it, and only once,
    because its key is the story's key.
    """
    workflow.recover()
    started = []
    for model in platform.versions.models():
        if policy_of(platform, model).recipe is None:
            continue
        for order in platform.findings.orders(model)[:RECENT_ORDERS]:
            if workflow.state(order.key) is None:
                arguments = {
                    "model": model,
                    "cause": order.cause,
                    "reason": order.reason,
                    "actor": KEEPER,
                    "since": None,
                    "until": None,
                }
                workflow.start("renew", arguments, key=order.key)
                started.append(order.key)
    return started


def schedule_renewals(platform: Platform, workflow: Workflow) -> list[str]:
    """Put every policy's cron schedule in force, and no other any more; returns the models that have one."""
    scheduled = [model for model, policy in sorted(platform.policies.items()) if policy.schedule]
    workflow.unschedule(besides=[f"renew-{model}" for model in scheduled])
    for model in scheduled:
        cron = platform.policies[model].schedule
        arguments = {
            "model": model,
            "cause": "schedule",
            "reason": f"on schedule ({cron})",
            "actor": KEEPER,
            "since": None,
            "until": None,
        }
        workflow.schedule(f"renew-{model}", "renew", arguments, cron=cron)
    return scheduled
