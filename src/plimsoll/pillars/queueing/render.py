"""Pillar queueing: what the declaration asks of a cluster.

render_system    Kueue's chart with its whole Configuration
render_shares    what each team is promised of each pool, in the order its jobs try them
render_queues    flavors, topologies, queues and priorities
render_limits    quotas of namespaces, and the policies that lead GPU pods through the queues
render_marks     policies that keep others from saying what Kueue believes of controllers
"""

from __future__ import annotations

from plimsoll.pillars.queueing import render_limits, render_marks, render_queues, render_system
from plimsoll.plan.model import Part
from plimsoll.spec.model import Platform


def render(platform: Platform) -> Part:
    """Kueue, the queues of all teams, and what keeps GPU pods from passing them by.

    Raises InputError for a Kueue that is older than what is known here.
    """
    release = render_system.release(platform)
    objects = (
        *render_queues.objects(platform, release),
        *render_limits.objects(platform),
        *render_marks.objects(platform),
    )
    return Part(
        objects=objects, charts=(render_system.chart(platform, release),), notes=tuple(render_queues.notes(platform))
    )
