"""All rules for a declaration, in portions that one object holds."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.pillars.observability.pack import facts
from plimsoll.pillars.observability.pack.alerts_cost import COST_ALERTS
from plimsoll.pillars.observability.pack.alerts_gpus import GPUS
from plimsoll.pillars.observability.pack.alerts_queues import QUEUE_ALERTS
from plimsoll.pillars.observability.pack.alerts_serving import SERVING_ALERTS
from plimsoll.pillars.observability.pack.alerts_use import USES
from plimsoll.pillars.observability.pack.cost import COST
from plimsoll.pillars.observability.pack.devices import DEVICES
from plimsoll.pillars.observability.pack.fleet import FLEET
from plimsoll.pillars.observability.pack.model import Group, Record
from plimsoll.pillars.observability.pack.queues import QUEUES
from plimsoll.pillars.observability.pack.serving import serving
from plimsoll.spec.model import Platform

PORTION = 500  # facts in one object: some 200 bytes each, and an object may have a megabyte


def rules(platform: Platform) -> dict[str, tuple[Group, ...]]:
    """Groups of rules by a name for the object that holds them."""
    found: dict[str, tuple[Group, ...]] = {
        f"plimsoll-facts-{number}": (Group(name=f"plimsoll-facts-{number}", rules=each),)
        for number, each in enumerate(_portions(platform), 1)
    }
    found["plimsoll-gpus"] = (DEVICES, FLEET, *GPUS, *USES)
    found["plimsoll-queues"] = (QUEUES, *QUEUE_ALERTS)
    if platform.services:
        judged = {
            (each.latency, each.percentile) for service in platform.services for each in facts.objectives(service)
        }
        found["plimsoll-serving"] = (serving(judged), *SERVING_ALERTS)
    if platform.observability.meter:
        found["plimsoll-cost"] = (COST, *COST_ALERTS)
    return found


def _portions(platform: Platform) -> Iterator[tuple[Record, ...]]:
    every = tuple(facts.records(platform))
    for start in range(0, len(every), PORTION):
        yield every[start : start + PORTION]
