"""The annotations by which a person tells the lab what its fake GPUs and model servers do."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, annotations_of, text

PREFIX = "lab.plimsoll.dev/"
GPU = PREFIX + "gpu"  # on a node: MODELxCOUNT, as lab/nodes.py writes it
GENERATION = PREFIX + "dcgm-generation"  # on a node: legacy | current
FAULTS = PREFIX + "gpu-telemetry"  # on a node: `INDEX:WORD,WORD INDEX:WORD`; see faults.py
UTILISATION = PREFIX + "gpu-utilisation"  # on a pod: 0..1
MEMORY = PREFIX + "gpu-memory"  # on a pod: 0..1 of each device it holds
DEMAND = PREFIX + "requests-per-second"  # on a workload that serves a model
CAPACITY = PREFIX + "capacity-per-replica"  # likewise: requests a second

_LARGEST = 1e6


def stated(obj: Obj, key: str) -> str:
    """The value of an annotation; "" if absent."""
    return text(annotations_of(obj), key)


def amount(obj: Obj, key: str, default: float, largest: float = _LARGEST) -> float:
    """A number from 0 to `largest` that an annotation states; the default where it states none."""
    try:
        value = float(stated(obj, key))
    except ValueError:
        return default
    return value if 0 <= value <= largest else default  # never true of nan
