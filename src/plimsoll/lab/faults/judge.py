"""Gives faults to a running lab, judges what its API then shows, heals, and says which check found what.

This is how the checks are measured: precision and recall over failure modes that real controllers have reacted to.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta

import msgspec

from plimsoll.check.model import Severity
from plimsoll.check.run import review
from plimsoll.errors import PlimsollError
from plimsoll.kube.capture import capture
from plimsoll.kube.client import Client
from plimsoll.kube.snapshot import Snapshot
from plimsoll.lab.faults import give
from plimsoll.lab.faults.hands import heal
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.run.settings import Folder
from plimsoll.pillars import all_checks
from plimsoll.spec.model import Platform

PATIENCE = 45.0  # seconds until a symptom shows, or is gone
_PAUSE = 0.3
_LOOKS, _BETWEEN = 4, 2.0  # at most so many, so many seconds apart
_STAYS = 30  # minutes: as late as any fault is judged

Roots = frozenset[tuple[str, str]]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What one fault gave. found: root causes that the healthy lab does not have, as (check, object)."""

    fault: str
    node: str
    found: tuple[tuple[str, str], ...]
    seconds: float
    healed: bool

    @property
    def hit(self) -> bool:
        """Whether the check that must name it did."""
        return any(check == self.fault.split("+")[0] for check, _ in self.found)

    @property
    def extra(self) -> tuple[tuple[str, str], ...]:
        """Root causes that are not the fault."""
        return tuple(each for each in self.found if each[0] != self.fault.split("+")[0])


class Judge:
    """Judges one lab against the declaration it was made for. Its state now is what is healthy."""

    def __init__(self, folder: Folder, platform: Platform | None) -> None:
        self._folder = folder
        self._platform = platform
        self._client = Client(folder.kubeconfig)
        self._healthy = self.snapshot()
        self.baseline = self.roots(self._healthy)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def snapshot(self, later: int = 0) -> Snapshot:
        """The lab as it is now, to be judged as of `later` minutes from now."""
        return _aged(capture(kubeconfig=self._folder.kubeconfig), later)

    def roots(self, snapshot: Snapshot) -> Roots:
        """Root causes above info."""
        waivers = self._platform.waivers if self._platform else ()
        answer = review(snapshot, all_checks(), platform=self._platform, waivers=waivers)
        serious = (each for each in answer.failures if each.severity > Severity.INFO and each.root_cause)
        return frozenset((each.check.id, str(each.finding.object)) for each in serious)

    def each(self, faults: Iterable[Fault]) -> Iterator[tuple[Judgement, Snapshot]]:
        """Give, judge and heal one after the other; each with the snapshot that was judged."""
        for fault in faults:
            yield self.one(fault)

    def one(self, fault: Fault) -> tuple[Judgement, Snapshot]:
        """Give one fault, judge, heal. Raises LabError where the symptom does not show in time."""
        began = time.monotonic()
        try:
            node = give.give(self._folder, self._client, fault, patience=PATIENCE)
            found, snapshot = self._found(fault)
            seconds = time.monotonic() - began
        finally:
            heal(self._folder, self._client, fault.id)
        healed = self._settle()
        return (
            Judgement(fault=fault.id, node=node, found=tuple(sorted(found)), seconds=round(seconds, 1), healed=healed),
            snapshot,
        )

    def _found(self, fault: Fault) -> tuple[Roots, Snapshot]:
        """New root causes. Looked for again while there are others than the fault: what it set in motion may go on."""
        for _ in range(_LOOKS):
            snapshot = self.snapshot(fault.later)
            found = self.roots(snapshot) - self.roots(_aged(self._healthy, fault.later))
            if {check for check, _ in found} == {fault.check}:
                break
            time.sleep(_BETWEEN)
        return found, snapshot

    def _settle(self) -> bool:
        """Wait until nothing is found that was not there before any fault, nor would be if it stayed as it is.

        False where that takes too long.
        """
        end, old = time.monotonic() + PATIENCE, self.roots(_aged(self._healthy, _STAYS))
        while time.monotonic() < end:
            taken = self.snapshot()
            if self.roots(taken) <= self.baseline and self.roots(_aged(taken, _STAYS)) <= old:
                return True
            time.sleep(_PAUSE)
        return False


def _aged(snapshot: Snapshot, later: int) -> Snapshot:
    """A snapshot as of so many minutes later."""
    now = snapshot.taken_at
    return snapshot.at(now + timedelta(minutes=later)) if now and later else snapshot


def main() -> None:
    """Judge a running lab by name; a line per fault on stderr."""
    import argparse
    import sys
    from pathlib import Path

    from plimsoll.lab.faults import registry
    from plimsoll.lab.run import launch
    from plimsoll.lab.run.settings import platform_of
    from plimsoll.spec.load import load

    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="lab")
    parser.add_argument("-f", dest="platform", type=Path)
    parser.add_argument("ids", nargs="*")
    arguments = parser.parse_args()
    folder = launch.folder_of(arguments.name)
    declared = arguments.platform
    platform = load(declared.read_bytes(), str(declared)) if declared else platform_of(folder.load())
    judge = Judge(folder, platform)
    faults = [registry.find(id_) for id_ in arguments.ids] or registry.ALL
    sys.stderr.write(f"baseline: {sorted(judge.baseline)}\n")
    for fault in faults:
        try:
            said, _ = judge.one(fault)
        except PlimsollError as error:
            sys.stderr.write(f"{fault.id:<14} ERROR {error}\n")
            continue
        sys.stderr.write(
            f"{said.fault:<14} {'hit ' if said.hit else 'MISS'} {'' if said.healed else 'NOT HEALED '}"
            f"{said.seconds:>5.1f} s {said.node} found={list(said.found)}\n"
        )
    judge.close()


if __name__ == "__main__":
    main()
