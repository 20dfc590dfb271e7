"""Every fault there is, by the part of the platform it befalls."""

from __future__ import annotations

from plimsoll.errors import InputError
from plimsoll.lab.faults import (
    admission,
    devices,
    discovery,
    driver,
    installed,
    keda,
    kueue,
    loss,
    mig,
    operator,
    partition,
    queues,
    serving,
    spot,
    toolkit,
    workloads,
)
from plimsoll.lab.faults.model import Fault

ALL: tuple[Fault, ...] = (
    *discovery.FAULTS,
    *operator.FAULTS,
    *driver.FAULTS,
    *toolkit.FAULTS,
    *devices.FAULTS,
    *mig.FAULTS,
    *partition.FAULTS,
    *installed.FAULTS,
    *loss.FAULTS,
    *workloads.FAULTS,
    *queues.FAULTS,
    *kueue.FAULTS,
    *admission.FAULTS,
    *serving.FAULTS,
    *keda.FAULTS,
    *spot.FAULTS,
)


def find(id_: str) -> Fault:
    """The fault of that id, however it is written. Raises InputError with what comes close."""
    from difflib import get_close_matches

    by_id = {fault.id.upper(): fault for fault in ALL}
    if id_.upper() in by_id:
        return by_id[id_.upper()]
    beginning = [each for each in by_id if id_ and each.startswith(id_.upper())]
    near = beginning[:3] or get_close_matches(id_.upper(), by_id, n=3)
    hint = f"did you mean {', '.join(by_id[each].id for each in near)}?" if near else "`plimsoll lab fault` lists them"
    raise InputError("no such fault", where=id_[:60], hint=hint)
