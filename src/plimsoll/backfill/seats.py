"""Which pods held which devices of a node, of what exporters named and of what must be so.

The past is whole: all pods and their ends are known before any is seated. Those whose devices an exporter named go
first; the others get devices that were free for as long as they were there. Of devices that are alike, which one it was
makes no difference to a price. Where no exporter ever named a device, there are as many made-up ones as the node has.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from plimsoll.agents.meter.claims import GPU, unit
from plimsoll.backfill.devices import Device
from plimsoll.cost.sample import WHOLE

NEVER = 1 << 62


class Want(msgspec.Struct, frozen=True):
    """A pod. amounts: devices by extended resource. named: where an exporter saw it. ended: NEVER while it lasts."""

    uid: str
    began: int
    ended: int
    amounts: Mapping[str, int]
    named: tuple[Device, ...] = ()


class Seat(msgspec.Struct, frozen=True):
    """A pod's hold of a device. sure: an exporter named it."""

    uid: str
    device: Device
    unit: str
    weight: int
    began: int
    ended: int
    sure: bool


class Node(msgspec.Struct, frozen=True):
    """units: of each device that is there, a MIG profile or GPU; those of MIG stand for whole ones where none is whole.

    gpus: as many as it is bought with. offers: devices by extended resource, shares of them each counted.
    parts: of WHOLE, of a GPU, by MIG profile.
    """

    units: Mapping[Device, str]
    gpus: int
    offers: Mapping[str, int]
    parts: Callable[[str], int]


def seat(node: Node, wants: Iterable[Want], taken: Sequence[Seat] = ()) -> list[Seat]:
    """The seats of pods that have none yet. taken: the seats of others, that were given before."""
    table = _Table(node, list(taken))
    have = {each.uid for each in taken}
    todo = sorted((want for want in wants if want.uid not in have), key=lambda want: (want.began, want.uid))
    left = [(want, table.named(want)) for want in todo if want.named]
    left += [(want, dict(want.amounts)) for want in todo if not want.named]
    for want, amounts in sorted(left, key=lambda each: (each[0].began, each[0].uid)):
        for resource, amount in amounts.items():
            table.free(want, resource, amount)
    return table.seats[len(taken) :]


class _Table:
    def __init__(self, node: Node, seats: list[Seat]) -> None:
        self.node = node
        self.seats = seats
        self.units = dict(node.units)
        self._at: dict[Device, list[tuple[int, int, int]]] = defaultdict(list)  # began, ended, weight; in order
        for each in seats:
            self.units.setdefault(each.device, each.unit)
            insort(self._at[each.device], (each.began, each.ended, each.weight))

    def named(self, want: Want) -> dict[str, int]:
        """Seat a pod where an exporter saw it. What is left of its wants; several shares may lie on one device."""
        devices = list(want.named)
        if not want.amounts:  # devices of a claim: it has what it was seen with
            for device in devices:
                self._take(want, device, 1)
            return {}
        left = {}
        for resource, amount in want.amounts.items():
            mine = [device for device in devices if self._serves(device, unit(resource))][:amount]
            shared = self._room(resource) > 1
            for place, device in enumerate(mine):
                self._take(want, device, amount // len(mine) + (place < amount % len(mine)) if shared else 1)
            devices = [device for device in devices if device not in mine]
            if not mine or (len(mine) < amount and not shared):
                left[resource] = amount - len(mine)
        return left

    def free(self, want: Want, resource: str, amount: int) -> None:
        """Seat a pod on the devices with the fewest holders while it was there, as device plugins spread shares."""
        of, room = unit(resource), self._room(resource)
        chosen: dict[Device, int] = {}
        for _ in range(amount):
            load = {device: chosen.get(device, 0) + self._load(device, want)
                    for device in self.units if self._serves(device, of)}  # fmt: skip
            device = min(load, key=lambda each: (load[each], each), default=None)
            if device is None or (load[device] >= room and self._may_add(of)):
                device = self._add(of)
            chosen[device] = chosen.get(device, 0) + 1
        for device, weight in chosen.items():
            self._take(want, device, weight, sure=False)

    def _load(self, device: Device, want: Want) -> int:
        """Shares of a device that are given at any time of a pod. Pods come in the order in which they began."""
        here = self._at[device] = [each for each in self._at[device] if each[1] > want.began]
        return sum(weight for began, _, weight in here if began < want.ended)

    def _take(self, want: Want, device: Device, weight: int, *, sure: bool = True) -> None:
        of = self.units.setdefault(device, GPU)
        insort(self._at[device], (want.began, want.ended, weight))
        self.seats.append(Seat(want.uid, device, of, weight, want.began, want.ended, sure))

    def _serves(self, device: Device, of: str) -> bool:
        """MIG instances that are given out as whole GPUs (strategy `single`) serve where their GPU is not whole."""
        have = self.units.get(device, GPU)
        return have == of or (of == GPU and bool(device.instance) and GPU not in self.units.values())

    def _room(self, resource: str) -> int:
        """To how many pods one device of a resource is given."""
        devices = sum(self._serves(device, unit(resource)) for device in self.node.units) or self.node.gpus
        shares = self.node.offers.get(resource, 0)
        return max(shares // devices, 1) if devices else 1

    def _may_add(self, of: str) -> bool:
        """Whether there may be a device that no exporter named."""
        gpus = {device.gpu for device in self.units}
        return len(gpus) < self.node.gpus or (of != GPU and any(self._left(gpu) >= self.node.parts(of) for gpu in gpus))

    def _left(self, gpu: str) -> int:
        here = [of for device, of in self.units.items() if device.gpu == gpu]
        return WHOLE - sum(WHOLE if of == GPU else self.node.parts(of) for of in here)

    def _add(self, of: str) -> Device:
        """A made-up device: GPUs are numbered, so are the instances of a profile on one."""
        gpus = sorted({device.gpu for device in self.units})
        number = next(str(each) for each in range(len(gpus) + 1) if str(each) not in gpus)
        device = Device(number)
        if of != GPU:
            gpu = next((each for each in gpus if self._left(each) >= self.node.parts(of)), number)
            made = {each.instance for each in self.units if each.gpu == gpu}
            device = Device(gpu, next(name for each in range(len(made) + 1) if (name := f"{of}#{each}") not in made))
        self.units[device] = of
        return device
