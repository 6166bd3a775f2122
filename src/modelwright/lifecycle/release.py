"""Trained artifact -> version in production: pack, check, register, deploy, judge."""

from __future__ import annotations

from pathlib import Path

from modelwright.lifecycle.candidate import Candidate, bring_in
from modelwright.ports.platform import Platform
from modelwright.ports.workflow import Json, Steps


def release(platform: Platform, steps: Steps, arguments: Json) -> Json:
    """Bring a model file in.

    Args:
        platform: the ports.
        steps: durable steps.
        arguments: ``artifact`` and ``data`` (labelled rows) as absolute paths, or ``artifact`` as the name of a model
            that another registry keeps (:attr:`Platform.local_model`), ``name``, ``target`` (label column),
            ``reference`` (training rows, or null), ``reason``, ``actor``, ``role``, ``canary`` (false: all at once),
            ``route`` (``auto``, ``onnx``, ``native``) and ``isolation`` (``strict``, ``standard``, ``off``).

    Returns:
        ``outcome`` (``promoted``, ``refused``, ``rolled-back``), ``version``, ``digest``, ``verdict``, ``why``.
    """
    reference = arguments.get("reference")
    candidate = Candidate(
        model=str(arguments["name"]),
        artifact=str(arguments["artifact"]),
        validation=Path(arguments["data"]),
        target=str(arguments["target"]),
        reference=Path(reference) if reference else None,
        canary=bool(arguments.get("canary", True)),
        route=arguments.get("route") or "auto",
        isolation=arguments.get("isolation") or "strict",
    )
    return bring_in(platform, steps, arguments, candidate)
