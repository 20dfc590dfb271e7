"""The meter that runs in a cluster, as the declaration asks for it."""

from __future__ import annotations

import re

from plimsoll.kube import kinds
from plimsoll.kube.declare.words import Say, printable, valid
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, pod_template, text
from plimsoll.kube.snapshot import Snapshot
from plimsoll.spec import derive
from plimsoll.spec.observability import Image, LedgerSecret, Meter, MeterLedger, SecretKey, StorageClass
from plimsoll.spec.values import Name, Quantity

_PLACE = "PLIMSOLL_LEDGER"


def find_meter(snapshot: Snapshot, say: Say) -> Meter | None:
    """The pod that watches the cluster and, where there are any, those on nodes. None without one of our shape."""
    key, value = derive.METER_LABEL
    workloads = (*snapshot.list(kinds.DEPLOYMENT), *snapshot.list(kinds.STATEFUL_SET))
    ours = [each for each in workloads if name(each) == value and labels(each).get(key) == value]
    for each in sorted(ours, key=namespace):
        container = next(iter(items(pod_template(each), "spec", "containers")), {})
        image = text(container, "image")
        if not valid(image, Image):
            continue
        ledger = _ledger(each, container)
        space = namespace(each)
        on_nodes = any(
            name(daemons) == f"{value}-node" and namespace(daemons) == space
            for daemons in snapshot.list(kinds.DAEMON_SET)
        )
        if on_nodes and not ledger.postgresql:
            say("meters run on nodes, and no database that they share was found: declared without them")
            on_nodes = False
        return Meter(mode="node" if on_nodes else "cluster", image=image, ledger=ledger)
    return None


def _ledger(workload: Obj, container: Obj) -> MeterLedger:
    for entry in items(container, "env"):
        secret = mapping(entry, "valueFrom", "secretKeyRef")
        called, key = get(secret, "name"), get(secret, "key")
        if entry.get("name") == _PLACE and valid(called, Name) and valid(key, SecretKey):
            return MeterLedger(postgresql=LedgerSecret(secret_name=str(called), key=str(key)))
    claim = mapping(next(iter(items(workload, "spec", "volumeClaimTemplates")), {}), "spec")
    standard = MeterLedger()
    storage, made_by = text(claim, "resources", "requests", "storage"), text(claim, "storageClassName")
    fits = printable(storage) and re.search(str(Quantity.schema["pattern"]), storage)
    return MeterLedger(
        storage=Quantity(storage) if fits else standard.storage,
        storage_class=made_by if valid(made_by, StorageClass) else standard.storage_class,
    )
