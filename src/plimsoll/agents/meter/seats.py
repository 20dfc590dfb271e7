"""Which pod holds which device of a node, since when.

Sources name holders some time after a pod was placed, or never: an exporter knows pods only while they run, a job of a
second is gone before it is asked. So a pod waits for a seat until a source names it, it ends, or patience is over. Then
it gets one that must be free: of devices that are alike, which one it was makes no difference to its price.

Devices have the names of their sources (UUID of the GPU, id of the instance). Where none ever says any, they are
numbered; sources that come later are matched with those numbers, so that nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from plimsoll.agents.meter.claims import GPU, Allocated
from plimsoll.agents.meter.reading import Pod as Name
from plimsoll.agents.meter.reading import Reading
from plimsoll.cost.sample import WHOLE, Ended, Gpu, Hold, Instance, Kind, Record
from plimsoll.gpus import mig

Device = tuple[str, str]  # UUID of the GPU, id of the instance or ""
MISSING = 3  # rounds without a device on its node's page, until it is gone
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


class Place(msgspec.Struct):
    """A device of the node. profile: of an instance. unit: what it serves. made_up: no source said its name."""

    unit: str
    profile: str
    parts: int
    made_up: bool = False
    missed: int = 0


class Seats:
    """One node. node: its uid. gpus: whole ones it is bought with. parts: of a GPU, by MIG profile."""

    def __init__(self, node: str, gpus: int, parts: Callable[[str], int]) -> None:
        self.node = node
        self.gpus = gpus
        self._single = False
        self.replicas: Replicas = lambda _: 1
        self.places: dict[Device, Place] = {}
        self.held: list[Held] = []
        self.wanting: dict[str, Want] = {}
        self.records: list[Record] = []
        self.guessed = 0
        self._parts = parts
        self._names: dict[Device, Device] = {}  # of a source to ours, where they differ

    @property
    def single(self) -> bool:
        """Whether MIG instances are given out as whole GPUs."""
        return self._single

    @single.setter
    def single(self, value: bool) -> None:
        if value != self._single:
            self._single = value
            for place in self.places.values():
                place.unit = self._unit(place.profile)

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
        seen = {self._known(each, moment) for each in devices}
        self._lost(seen, moment)
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
            device = self._names.get((each.gpu, each.instance), (each.gpu, each.instance))
            if device not in self.places:
                self._add(device, each.unit, want.began, profile=each.profile, made_up=True)
            self._hold(want, device, 1, sure=True)

    def restore(self, device: Device, profile: str, parts: int) -> None:
        """A device that the ledger has open."""
        made_up = device[0].isdecimal() or "#" in device[1]
        self.places[device] = Place(self._unit(profile), profile, parts, made_up)

    def ours(self, device: Device) -> Device:
        """Our name of a source's device."""
        return self._names.get(device, device)

    def holders(self, device: Device, began: int, ended: int) -> list[Held]:
        """Who holds one of our devices at any time between two moments."""
        return [each for each in self.held if each.device == device and each.meets(began, ended)]

    # How it is done

    def _known(self, reading: Reading, moment: int) -> Device:
        """Our name of the device; noted if it is new."""
        theirs, unit = reading.device, self._unit(reading.profile)
        device = self._names.get(theirs, theirs)
        if device not in self.places:
            device = self._names[theirs] = self._match(theirs, unit)
        place = self.places.get(device)
        if place is not None and place.profile != reading.profile:  # another one that was given the same number
            self._ended("instance", (self.node, *device), moment)
            place = None
        if place is None:
            self._add(device, unit, moment, profile=reading.profile)
        else:
            place.missed = 0
        return device

    def _unit(self, profile: str) -> str:
        return mig.canonical(profile) if profile and not self._single else GPU

    def _match(self, theirs: Device, unit: str) -> Device:
        """A made-up device that a source's new one may be; else its own name."""
        taken = set(self._names.values())
        gpus = {gpu: name for (gpu, _), (name, _) in self._names.items()}
        named = {name for name, _ in taken}
        numbers = sorted({gpu for gpu, _ in self.places if gpu.isdecimal() and gpu not in named})
        there = any(gpu == theirs[0] for gpu, _ in self.places)
        gpu = gpus.get(theirs[0]) or (theirs[0] if there or not numbers else numbers[0])
        free = [device for device, place in self.places.items()
                if place.made_up and place.unit == unit and device not in taken and device[0] == gpu]  # fmt: skip
        return free[0] if free else (gpu, theirs[1])

    def _add(self, device: Device, unit: str, moment: int, *, profile: str = "", made_up: bool = False) -> None:
        gpu, instance = device
        parts = WHOLE
        if not any(known == gpu for known, _ in self.places):
            self.records.append(Gpu(node=self.node, gpu=gpu, began=moment))
        if instance:
            parts = self._parts(profile or unit)
            self.records.append(Instance(node=self.node, gpu=gpu, instance=instance, profile=profile or unit,
                                         parts=parts, began=moment))  # fmt: skip
        self.places[device] = Place(unit, profile or (unit if instance else ""), parts, made_up)

    def _lost(self, seen: set[Device], moment: int) -> None:
        """Note what is missing. A GPU is gone after some rounds; as it is cut anew, what it was cut into is at once.

        What was made up and is known to no source stays.
        """
        gpus = {gpu for gpu, _ in seen}
        for device, place in list(self.places.items()):
            if device in seen or (place.made_up and device not in self._names.values()):
                continue
            place.missed += 1
            if device[0] not in gpus and place.missed < MISSING:
                continue
            del self.places[device]
            if device[1]:
                self._ended("instance", (self.node, *device), moment)
            if not any(gpu == device[0] for gpu, _ in self.places):
                self._ended("gpu", (self.node, device[0]), moment)

    def _ended(self, kind: Kind, subject: tuple[str, ...], moment: int) -> None:
        self.records.append(Ended(kind=kind, subject=subject, moment=moment, exact=False, why="Missing"))

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
        """What sources call by either name is from now on the other."""
        theirs = {ours: name for name, ours in self._names.items()}
        self._names[theirs.get(one, one)], self._names[theirs.get(other, other)] = other, one
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
        if best is not None and ((load[best] < room and best not in kept) or not self._may_add(unit)):
            return best
        device = self._new(unit)
        self._add(device, unit, began, profile="" if unit == GPU else unit, made_up=True)
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

    def _may_add(self, unit: str) -> bool:
        """Whether there may be a device that no source told of."""
        gpus = {gpu for gpu, _ in self.places}
        if unit == GPU:
            return len(gpus) < self.gpus
        return len(gpus) < self.gpus or any(self._left(gpu) >= self._parts(unit) for gpu in gpus)

    def _left(self, gpu: str) -> int:
        return WHOLE - sum(place.parts for device, place in self.places.items() if device[0] == gpu)

    def _new(self, unit: str) -> Device:
        gpus = sorted({gpu for gpu, _ in self.places})
        number = next(each for each in range(len(gpus) + 1) if str(each) not in gpus)
        if unit == GPU:
            return str(number), ""
        parts = self._parts(unit)
        gpu = next((each for each in gpus if self._left(each) >= parts), str(number))
        taken = {instance for known, instance in self.places if known == gpu}
        return gpu, next(name for place in range(len(taken) + 1) if (name := f"{unit}#{place}") not in taken)

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
