"""Pieces of CEL that admission policies of several pillars are made of."""

from __future__ import annotations

# Whether a pod asks for GPUs or parts of them: a resource of any container, be it the device plugin's or the name by
# which a DRA driver's class is asked for, or a claim, whose devices only its own object names.
ASKS_FOR_GPUS = (
    "(object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])).exists(c, "
    "has(c.resources) && has(c.resources.limits) && c.resources.limits.exists(name, "
    "name.startsWith('nvidia.com/gpu') || name.startsWith('nvidia.com/mig-') || "
    "name.startsWith('deviceclass.resource.kubernetes.io/'))) || "
    "(has(object.spec.resourceClaims) && size(object.spec.resourceClaims) > 0)"
)
