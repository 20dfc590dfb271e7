"""The devices of a node by our names, which are those of their sources: UUID of the GPU, id of the instance.

Where no source ever says any, devices are numbered; sources that come later are matched with those numbers, so that
nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from plimsoll.agents.meter.claims import GPU
from plimsoll.agents.meter.reading import Reading
from plimsoll.cost.sample import WHOLE, Ended, Gpu, Instance, Kind, Record
from plimsoll.gpus import mig

Device = tuple[str, str]  # UUID of the GPU, id of the instance or ""
MISSING = 3  # rounds without a device on its node's page, until it is gone


class Place(msgspec.Struct):
    """A device of the node. profile: of an instance. unit: what it serves. made_up: no source said its name."""

    unit: str
    profile: str
    parts: int
    made_up: bool = False
    missed: int = 0


class Places:
    """One node. node: its uid. gpus: whole ones it is bought with. parts: of a GPU, by MIG profile."""

    def __init__(self, node: str, gpus: int, parts: Callable[[str], int]) -> None:
        self.node = node
        self.gpus = gpus
        self.places: dict[Device, Place] = {}
        self.records: list[Record] = []
        self._single = False
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

    def restore(self, device: Device, profile: str, parts: int) -> None:
        """A device that the ledger has open."""
        made_up = device[0].isdecimal() or "#" in device[1]
        self.places[device] = Place(self._unit(profile), profile, parts, made_up)

    def ours(self, device: Device) -> Device:
        """Our name of a source's device."""
        return self._names.get(device, device)

    def turn(self, one: Device, other: Device) -> None:
        """What sources call by either name is from now on the other."""
        theirs = {ours: name for name, ours in self._names.items()}
        self._names[theirs.get(one, one)], self._names[theirs.get(other, other)] = other, one

    def known(self, reading: Reading, moment: int) -> Device:
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
            self.add(device, unit, moment, profile=reading.profile)
        else:
            place.missed = 0
        return device

    def add(self, device: Device, unit: str, moment: int, *, profile: str = "", made_up: bool = False) -> None:
        gpu, instance = device
        parts = WHOLE
        if not any(known == gpu for known, _ in self.places):
            self.records.append(Gpu(node=self.node, gpu=gpu, began=moment))
        if instance:
            parts = self._parts(profile or unit)
            self.records.append(Instance(node=self.node, gpu=gpu, instance=instance, profile=profile or unit,
                                         parts=parts, began=moment))  # fmt: skip
        self.places[device] = Place(unit, profile or (unit if instance else ""), parts, made_up)

    def lost(self, seen: set[Device], moment: int) -> None:
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

    def may_add(self, unit: str) -> bool:
        """Whether there may be a device that no source told of."""
        gpus = {gpu for gpu, _ in self.places}
        if unit == GPU:
            return len(gpus) < self.gpus
        return len(gpus) < self.gpus or any(self._left(gpu) >= self._parts(unit) for gpu in gpus)

    def new(self, unit: str) -> Device:
        gpus = sorted({gpu for gpu, _ in self.places})
        number = next(each for each in range(len(gpus) + 1) if str(each) not in gpus)
        if unit == GPU:
            return str(number), ""
        parts = self._parts(unit)
        gpu = next((each for each in gpus if self._left(each) >= parts), str(number))
        taken = {instance for known, instance in self.places if known == gpu}
        return gpu, next(name for place in range(len(taken) + 1) if (name := f"{unit}#{place}") not in taken)

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

    def _left(self, gpu: str) -> int:
        return WHOLE - sum(place.parts for device, place in self.places.items() if device[0] == gpu)

    def _ended(self, kind: Kind, subject: tuple[str, ...], moment: int) -> None:
        self.records.append(Ended(kind=kind, subject=subject, moment=moment, exact=False, why="Missing"))
