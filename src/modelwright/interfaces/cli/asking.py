"""Rows in batches to a server, several at once, and the answers in the order of the rows."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelwright.client import AsyncClient, Predictions
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.interfaces.cli.output import working
from modelwright.interfaces.cli.rows import Rows

if TYPE_CHECKING:
    from modelwright.core.table import Column
    from modelwright.settings import Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """Which model, and how: ``batch`` rows in a request, ``concurrency`` requests at once, ``timeout`` seconds each."""

    model: str
    version: str
    batch: int
    concurrency: int
    timeout: float


def ask(settings: Settings, asked: Asked, rows: Rows, *, quiet: bool) -> dict[str, Column]:
    """The answers by column, with ``prediction_id``, ``prediction_row`` (in its request) and ``model_version``.

    The first batch that fails ends it, with its rows in the message.

    Raises:
        ModelwrightError: as the client's.
    """
    parts: list[tuple[str, Any]] = list(_batches(rows, asked.batch))
    if not parts:
        raise BadInputError("predict.no-rows", "There are no rows to predict.")
    total = max(1, len(rows.table))
    with working(f"Predicting {total} rows ...", quiet=quiet or not sys.stderr.isatty()) as say:
        told = [0]

        def progress(count: int) -> None:
            told[0] += count
            if sys.stderr.isatty() and not quiet:
                say(f"Predicting: {told[0]:,} of {total:,} rows ...")

        answers = asyncio.run(_ask_all(settings, asked, parts, progress))
    return _joined(answers)


async def _ask_all(
    settings: Settings, asked: Asked, parts: list[tuple[str, Any]], progress: Callable[[int], None]
) -> list[Predictions]:
    url = settings.url or f"{'https' if settings.tls_certificate else 'http'}://{settings.http}"
    answers: dict[int, Predictions] = {}
    waiting = iter(enumerate(parts))
    async with AsyncClient(
        url, token=settings.token, timeout=asked.timeout, pool=asked.concurrency, ca=settings.ca
    ) as client:
        await client.metadata(asked.model, asked.version)  # once, before many would ask for it at the same time

        async def work() -> None:
            for index, (label, rows) in waiting:
                try:
                    answers[index] = await client.predict(asked.model, rows, version=asked.version)
                except ModelwrightError as error:
                    raise _located(error, label if len(parts) > 1 else "") from error
                progress(len(answers[index]))

        workers = [asyncio.ensure_future(work()) for _ in range(min(asked.concurrency, len(parts)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
    return [answers[index] for index in range(len(parts))]


def _batches(rows: Rows, size: int) -> Iterator[tuple[str, Any]]:
    if rows.nested:
        yield "", rows.tensors
        return
    for first in range(0, len(rows.table), size):
        part = rows.table.take(slice(first, first + size))
        yield f"Rows {first + 1} to {first + len(part)}: ", part


def _located(error: ModelwrightError, label: str) -> ModelwrightError:
    return type(error)(error.code, f"{label}{error.what}", why=error.why, fix=error.fix, details=error.details)


def _joined(answers: list[Predictions]) -> dict[str, Column]:
    parts: list[dict[str, Column]] = []
    for answer in answers:
        columns = {name: _plain(column) for name, column in answer.columns().items()}
        count = len(next(iter(columns.values()), ()))
        about: dict[str, Column] = {
            "prediction_id": np.array([answer.id] * count, dtype=object),
            "prediction_row": np.arange(count),
            "model_version": np.array([answer.version] * count, dtype=object),
        }
        parts.append(about | columns)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _plain(column: Column) -> Column:
    """Half precision as FP32: files have no such numbers."""
    return column.astype(np.float32) if column.dtype == np.float16 else column
