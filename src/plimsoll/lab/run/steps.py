"""Steps that wait for one another and otherwise run at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec


class Step(msgspec.Struct, frozen=True):
    """Work, and the names of the steps that come before it; one that is not there has nothing to wait for."""

    name: str
    work: Callable[[], Awaitable[object]]
    after: tuple[str, ...] = ()


Told = Callable[[str, float | None], None]
"""A step's name, and its seconds; None while it is under way."""


async def run(steps: Sequence[Step], told: Told) -> None:
    """Run all. The first that fails ends the others and is raised. Steps are given in an order that would do."""
    tasks: dict[str, asyncio.Task[None]] = {}

    async def one(step: Step, before: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*before)
        began = time.monotonic()
        told(step.name, None)
        await step.work()
        told(step.name, round(time.monotonic() - began, 2))

    for step in steps:
        tasks[step.name] = asyncio.create_task(one(step, [tasks[name] for name in step.after if name in tasks]))
    try:
        await asyncio.gather(*tasks.values())
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
