"""What a ledger has open: what a meter that begins again goes on from."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from plimsoll.cost.sample import HOUR, key
from plimsoll.cost.store import Store

Device = tuple[str, str]  # UUID of the GPU, id of the instance or ""


class OpenNode(msgspec.Struct, frozen=True):
    """devices: GPU, instance, profile, parts of WHOLE (0 for a whole GPU). holds: pod's uid, device, weight, began."""

    uid: str
    name: str
    sku: str
    gpus: int
    devices: list[tuple[str, str, str, int]]
    holds: list[tuple[str, Device, int, int]]


class Open(msgspec.Struct, frozen=True):
    """pods: uid, (namespace, name), uid of the node, whether it ran. read: until when usage of a device was written."""

    nodes: list[OpenNode]
    pods: list[tuple[str, tuple[str, str], str, bool]]
    read: list[tuple[Device, int]]

    def of(self, node: str) -> Open:
        """What is open on the nodes of one name; "" for all of it."""
        if not node:
            return self
        nodes = [each for each in self.nodes if each.name == node]
        uids, gpus = {each.uid for each in nodes}, {gpu for each in nodes for gpu, *_ in each.devices}
        pods = [each for each in self.pods if each[2] in uids]
        return Open(nodes, pods, [each for each in self.read if each[0][0] in gpus])


def opened(store: Store) -> Open:
    """Everything of which no end was told."""
    over = "EXISTS (SELECT 1 FROM marks m WHERE m.id = x.id AND m.mark = 'ended' AND m.moment >= x.began)"
    devices: dict[int, list[tuple[str, str, str, int]]] = defaultdict(list)
    names: dict[tuple[int, int], str] = {}
    for node, gpu, uuid in store.rows("SELECT DISTINCT node, gpu, uuid FROM gpus"):
        names[node, gpu] = uuid
    inner: dict[tuple[int, int], str] = {}
    cut = set()
    rows = store.rows(f"SELECT node, gpu, instance, name, profile, parts FROM instances x WHERE NOT {over}")
    for node, gpu, instance, name, profile, parts in rows:
        inner[gpu, instance] = name
        cut.add((node, gpu))
        devices[node].append((names.get((node, gpu), ""), name, profile, parts))
    for node, gpu, uuid in store.rows(f"SELECT node, gpu, uuid FROM gpus x WHERE NOT {over}"):
        if (node, gpu) not in cut:
            devices[node].append((uuid, "", "", 0))
    holds: dict[int, list[tuple[str, Device, int, int]]] = defaultdict(list)
    rows = store.rows(
        """SELECT h.node, p.uid, h.gpu, h.instance, h.weight, h.began FROM holds h JOIN pods p ON p.id = h.pod
            WHERE NOT EXISTS (SELECT 1 FROM marks m WHERE m.mark = 'ended' AND (m.id = h.id OR m.id = h.pod))"""
    )
    for node, uid, gpu, instance, weight, began in rows:
        device = names.get((node, gpu), ""), inner.get((gpu, instance), "") if instance else ""
        holds[node].append((uid, device, weight, began))
    nodes = [
        OpenNode(uid, name, sku, gpus, sorted(devices[number]), holds[number])
        for number, uid, name, sku, gpus in store.rows(
            f"SELECT id, uid, name, sku, gpus FROM nodes x WHERE NOT {over} ORDER BY name, began"
        )
    ]
    pods = [
        (uid, (namespace, name), node or "", bool(ran))
        for uid, namespace, name, node, ran in store.rows(
            """SELECT x.uid, x.namespace, x.name, n.uid,
                    EXISTS (SELECT 1 FROM marks r WHERE r.id = x.id AND r.mark = 'running')
                FROM pods x LEFT JOIN nodes n ON n.id = x.node
                WHERE NOT EXISTS (SELECT 1 FROM marks m WHERE m.id = x.id AND m.mark = 'ended')"""
        )
    ]
    return Open(nodes, pods, _read(store, {gpu: uuid for (_, gpu), uuid in names.items()}, inner))


def billed(store: Store, uids: list[str]) -> set[str]:
    """Those of some pods that the ledger knows, ended or not."""
    rows = store.rows("SELECT uid FROM pods WHERE id IN (SELECT UNNEST(CAST(? AS BIGINT[])))", ([*map(key, uids)],))
    return {uid for (uid,) in rows}


def _read(store: Store, gpus: dict[int, str], instances: dict[tuple[int, int], str]) -> list[tuple[Device, int]]:
    """Until when usage was written, of devices that were read in the hour before the last moment watched."""
    since = int(store.rows("SELECT COALESCE(MAX(ended), 0) FROM watches")[0][0]) - HOUR
    found: dict[Device, int] = {}
    for table in ("usage", "usage_inbox"):
        for gpu, instance, ended in store.rows(
            f"SELECT gpu, instance, MAX(ended) FROM {table} WHERE ended > {since} GROUP BY gpu, instance"
        ):
            device = gpus.get(gpu, ""), instances.get((gpu, instance), "") if instance else ""
            if device[0] and (device[1] or not instance):
                found[device] = max(found.get(device, 0), int(ended))
    return sorted(found.items())
