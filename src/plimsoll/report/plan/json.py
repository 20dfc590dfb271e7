"""The published JSON of a plan: schema `plimsoll.dev/plan/v1`."""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll import __version__
from plimsoll.plan.result import Action, Item, Plan
from plimsoll.report.plan.words import sentence

SCHEMA_VERSION = "plimsoll.dev/plan/v1"


def render(plan: Plan) -> str:
    """Everything the table says and all it leaves out; objects that stay as they are are counted only."""
    said = {
        "schemaVersion": SCHEMA_VERSION,
        "plimsoll": __version__,
        "platform": plan.platform,
        "against": plan.against,
        "summary": {"sentence": sentence(plan), **{str(each): plan.count(each) for each in Action}},
        "changes": [_item(each) for each in plan.changes],
        "impact": {
            "pods": [
                {
                    "namespace": each.pod.namespace,
                    "name": each.pod.name,
                    "team": each.team,
                    "node": each.node,
                    "is": each.how,
                    "because": each.why,
                    "devices": each.devices,
                    "runningSeconds": each.running,
                    "gpuHours": each.gpu_hours,
                }
                for each in plan.impact.struck
            ],
            "capacity": plan.impact.capacity,
            "quota": plan.impact.quota,
            "costPerHour": plan.impact.cost,
            "currency": plan.impact.currency,
        },
        "notes": plan.notes,
    }
    return msgspec.json.format(msgspec.json.encode(said), indent=2).decode() + "\n"


def _item(item: Item) -> dict[str, Any]:
    ref = item.ref
    return {
        "action": str(item.action),
        "pillar": item.pillar,
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "namespace": ref.namespace,
        "name": ref.name,
        "judgedByServer": item.judged,
        "fields": item.fields,
        "conflicts": item.owners,
        "why": item.why,
        "hint": item.hint,
    }
