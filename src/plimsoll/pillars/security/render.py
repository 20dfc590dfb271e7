"""Pillar security: what the declaration asks of a cluster.

render_homes       namespaces, who may do what in them, accounts of jobs
render_network     who may talk to whom
render_policies    what the API server refuses in teams' namespaces, beside Pod Security
render_images      of these, which images may run
render_identity    how jobs prove who they are to the cloud: what is left to do by hand
"""

from __future__ import annotations

from plimsoll.pillars.security import render_homes, render_identity, render_images, render_network, render_policies
from plimsoll.plan.model import Part
from plimsoll.spec.model import Platform


def render(platform: Platform) -> Part:
    objects = (
        *render_homes.objects(platform),
        *render_network.objects(platform),
        *render_policies.objects(platform),
        *render_images.objects(platform),
    )
    notes = (
        *render_homes.notes(platform),
        *render_network.notes(platform),
        *render_images.notes(platform),
        *render_identity.notes(platform),
    )
    return Part(objects=objects, notes=notes)
