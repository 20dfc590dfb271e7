"""Which pod holds which device of a node, since when.

Sources name holders some time after a pod was placed, or never: an exporter knows pods only while they run, a job of a
second is gone before it is asked. So a pod waits for a seat until a source names it, it ends, or patience is over. Then
it gets one that must be free: of devices that are alike, which one it was makes no difference to its price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from plimsoll.agents.meter.claims import GPU, Allocated
from plimsoll.agents.meter.places import Device, Places
from plimsoll.agents.meter.reading import Pod as Name
from plimsoll.agents.meter.reading import Reading
from plimsoll.cost.sample import WHOLE, Hold

Replicas = Callable[[str], int]  # by unit: to how many pods one device is given


class Want(msgspec.Struct):
    """What a pod asks for. amounts: by unit. named: devices that a source says it holds."""

    uid: str
    name: Name
    began: int
    amounts: dict[str, int]
    named: list[Device] = []


class Held(msgspec.Struct):
    """A seat. ended: 0 while it is taken. sure: a source named it."""

    uid: str
    device: Device
    weight: int
    began: int
    ended: int = 0
    sure: bool = False

    def meets(self, began: int, ended: int) -> bool:
        return (not self.ended or self.ended > began) and (not ended or self.began < ended)


class Seats(Places):
    """One node, and who holds its devices."""

    def __init__(self, node: str, gpus: int, parts: Callable[[str], int]) -> None:
        super().__init__(node, gpus, parts)
        self.replicas: Replicas = lambda _: 1
        self.held: list[Held] = []
        self.wanting: dict[str, Want] = {}
        self.guessed = 0

    # What pods do

    def want(self, want: Want) -> None:
        self.wanting.setdefault(want.uid, want)

    def leave(self, uid: str, moment: int) -> None:
        """A pod has ended. It may never have been seated."""
        if uid in self.wanting:
            self._guess(self.wanting.pop(uid), moment)
        for each in self.held:
            if each.uid == uid and not each.ended:
                each.ended = max(moment, each.began)

    def tick(self, before: int) -> None:
        """Seat those that have waited since before a moment."""
        for uid in [uid for uid, want in self.wanting.items() if want.began < before]:
            self._guess(self.wanting.pop(uid), 0)

    def settle(self) -> None:
        """Seat all that wait."""
        for uid in list(self.wanting):
            self._guess(self.wanting.pop(uid), 0)

    def forget(self, before: int) -> None:
        """Drop what ended before a moment: nothing will be asked of it any more."""
        if any(each.ended and each.ended < before for each in self.held):
            self.held = [each for each in self.held if not each.ended or each.ended >= before]

    # What sources say

    def read(self, readings: Iterable[Reading], moment: int, names: Callable[[Name], str]) -> None:
        """What is on the node's page at a moment. names: uid of the pod of a name that is there now; "" if none."""
        devices = [each for each in readings if not each.cut]
        seen = {self.known(each, moment) for each in devices}
        self.lost(seen, moment)
        for each in devices:
            for name in each.holders:
                if uid := names(name):
                    self._told(uid, self.ours(each.device))  # which may turn names
        for uid in [uid for uid, want in self.wanting.items() if _enough(want, self.replicas)]:
            self._seat(self.wanting.pop(uid))

    def told(self, uid: str, devices: Sequence[Allocated]) -> None:
        """The cluster itself says what a waiting pod was given (DRA)."""
        want = self.wanting.pop(uid)
        for each in devices:
            device = self.ours((each.gpu, each.instance))
            if device not in self.places:
                self.add(device, each.unit, want.began, profile=each.profile, made_up=True)
            self._hold(want, device, 1, sure=True)

    def holders(self, device: Device, began: int, ended: int) -> list[Held]:
        """Who holds one of our devices at any time between two moments."""
        return [each for each in self.held if each.device == device and each.meets(began, ended)]

    # How it is done

    def _told(self, uid: str, device: Device) -> None:
        """A source names a pod as a device's holder."""
        want = self.wanting.get(uid)
        if want is not None:
            if device not in want.named:
                want.named.append(device)
            return
        mine = [each for each in self.held if each.uid == uid and not each.ended]
        if any(each.device == device for each in mine):
            for each in mine:
                each.sure = each.sure or each.device == device
            return
        self._swap(mine, device)

    def _swap(self, mine: list[Held], device: Device) -> None:
        """A pod was seated by elimination and in truth holds another device, alike: the two exchange their names."""
        place = self.places.get(device)
        wrong = next((each for each in mine if not each.sure and each.device in self.places), None)
        if place is None or wrong is None or self.places[wrong.device].unit != place.unit:
            return
        if any(each.device == device and each.sure and not each.ended for each in self.held):
            return
        self._exchange(device, wrong.device)
        wrong.sure = True

    def _exchange(self, one: Device, other: Device) -> None:
        """What sources call by either name is from now on the other, for those who wait too."""
        self.turn(one, other)
        turned = {one: other, other: one}
        for want in self.wanting.values():
            want.named = [turned.get(each, each) for each in want.named]

    def _clear(self, device: Device, want: Want) -> Device:
        """The device; or one alike that was free, where by our books somebody held it when its holder came.

        Who was seated by elimination may have been seated wrongly; and times are whole seconds of several clocks, so
        that who comes after another may seem to come before he went. Or one who came earlier and waits still can be
        nowhere else.
        """
        place = self.places.get(device)
        if place is None or self.replicas(place.unit) > 1:
            return device
        taken = [each for each in self.held if each.device == device and each.meets(want.began, 0)]
        if any(each.sure and not each.ended for each in taken):
            return device
        kept = self._kept(place.unit, want.began, last=device)
        if not taken and device not in kept:
            return device
        busy = {each.device for each in self.held if each.meets(want.began, 0)} | {device, *want.named}
        free = [each for each, of in self.places.items() if of.unit == place.unit and each not in busy]
        other = next((each for each in free if each not in kept), None)
        if other is None and taken:
            other = next((each for each in free if self._spared(each, device, kept)), None)
        if other is None:
            return device
        self._exchange(device, other)
        return other

    def _spared(self, device: Device, instead: Device, kept: set[Device]) -> bool:
        """Whether those who wait and were named on a device could be on another."""
        spare = [each for each, place in self.places.items() if place.unit == self.places[device].unit
                 and (each == instead or each not in kept)]  # fmt: skip
        who = [each for each in self.wanting.values() if device in each.named]
        return bool(who) and all(any(not self.holders(each, of.began, 0) for each in spare) for of in who)

    def _seat(self, want: Want) -> None:
        """Take what a source named."""
        amount = sum(want.amounts.values())
        devices = [each for each in want.named if each in self.places] or want.named
        for place, device in enumerate(devices[:amount]):
            weight = amount // len(devices) + (place < amount % len(devices))
            self._hold(want, self._clear(device, want), max(weight, 1), sure=True)

    def _guess(self, want: Want, ended: int) -> None:
        """Seat a pod where there must be room. What a source named of it counts."""
        self.guessed += 1
        left = dict(want.amounts)
        for device in want.named:
            place = self.places.get(device)
            if place is not None and left.get(place.unit, 0) > 0:
                left[place.unit] -= 1
                self._hold(want, self._clear(device, want), 1, sure=True)
        for unit, amount in left.items():
            chosen: dict[Device, int] = {}
            for _ in range(amount):
                device = self._free(unit, want, ended, chosen)
                chosen[device] = chosen.get(device, 0) + 1
            for device, weight in chosen.items():
                self._hold(want, device, weight, sure=False)

    def _free(self, unit: str, want: Want, ended: int, chosen: dict[Device, int]) -> Device:
        """The device of a unit with the fewest holders in a time, as plugins spread shares; made up without room."""
        began, room = want.began, self.replicas(unit)
        kept = self._kept(unit, began) if room == 1 else set()
        load = {device: chosen.get(device, 0) for device, place in self.places.items() if place.unit == unit}
        for each in self.held:
            if each.device in load and each.meets(began, ended):
                load[each.device] += each.weight
        best = min(load, key=lambda device: (load[device] >= room, device in kept, load[device]), default=None)
        if best is not None and ((load[best] < room and best not in kept) or not self.may_add(unit)):
            return best
        device = self.new(unit)
        self.add(device, unit, began, profile="" if unit == GPU else unit, made_up=True)
        return device

    def _kept(self, unit: str, began: int, last: Device | None = None) -> set[Device]:
        """Devices that those who came before a moment and still wait will need. last: needed only if no other is."""
        found = {device for each in self.wanting.values() for device in each.named}
        before = [each for each in self.wanting.values() if each.began <= began]
        for each in sorted(before, key=lambda each: each.began):
            busy = found | {held.device for held in self.held if held.meets(each.began, 0)}
            room = [device for device, place in self.places.items() if place.unit == unit and device not in busy]
            room.sort(key=lambda device: device == last)
            found.update(room[: max(each.amounts.get(unit, 0) - len(each.named), 0)])
        return found

    def _hold(self, want: Want, device: Device, weight: int, *, sure: bool) -> None:
        place = self.places.get(device)
        self.held.append(Held(want.uid, device, weight, want.began, sure=sure))
        self.records.append(Hold(pod=want.uid, node=self.node, gpu=device[0], instance=device[1],
                                 parts=place.parts if place else WHOLE, weight=weight, began=want.began))  # fmt: skip


def _enough(want: Want, replicas: Replicas) -> bool:
    """Whether a source has named all that a pod asks for. Several shares may lie on one device."""
    if not want.named:
        return False
    return len(want.named) >= sum(want.amounts.values()) or any(replicas(unit) > 1 for unit in want.amounts)
