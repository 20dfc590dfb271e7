"""Does a MIG layout fit on one GPU, and where does each instance go.

A layout is the number of instances of each profile. Instances occupy consecutive units of the
placement axis and may start only where their profile allows, so the order in which they are
created matters to the driver: 4×1g + 1×3g fits only with the 3g at 4. Searching all starts
answers whether any order works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import msgspec

from plimsoll.gpus import mig
from plimsoll.gpus.model import Geometry, Profile, Sku


class Instance(msgspec.Struct, frozen=True):
    """One GPU instance: its profile, and the units start .. start+size-1 of the placement axis."""

    profile: str
    start: int
    size: int


class Placement(msgspec.Struct, frozen=True):
    """A layout that fits, instances by start."""

    instances: tuple[Instance, ...]

    def __str__(self) -> str:
        return ", ".join(f"{each.profile} at {each.start}" for each in self.instances) or "no instances"


class Misfit(msgspec.Struct, frozen=True):
    """A layout that does not fit.

    reason: one sentence. fits: the part of the layout that does fit, the largest instances first.
    room: what could be added to that part, each profile on its own.
    """

    reason: str
    fits: dict[str, int]
    room: dict[str, int]

    def __str__(self) -> str:
        return self.reason


def place(of: Sku | Geometry, layout: Mapping[str, int]) -> Placement | Misfit:
    """Where the instances of a layout go on one GPU, or why they do not fit.

    layout: instances by profile name; every form that `mig.profile` reads. Instances keep
    the geometry's own profile names.
    """
    cut = mig.geometry(of)
    if cut is None:
        return Misfit(f"{_name(of)} has no MIG", {}, {})
    counts, wrong = _counts(of, cut, layout)
    if not wrong:
        starts = _solve(cut, tuple(counts))
        if starts is not None:
            found = [Instance(p.name, at, p.size) for p, ats in zip(cut.profiles, starts, strict=True) for at in ats]
            return Placement(tuple(sorted(found, key=lambda each: each.start)))
        wrong = _why(cut, counts)
    part = _part(cut, counts)
    return Misfit(wrong, _named(cut, part), _room(cut, part))


def room(of: Sku | Geometry, layout: Mapping[str, int]) -> dict[str, int]:
    """How many more instances of each profile fit beside a layout, each profile on its own.

    Instances of the layout may move, as they do when mig-manager applies a config: it recreates
    all of them. {} where the layout itself does not fit.
    """
    cut = mig.geometry(of)
    if cut is None:
        return {}
    counts, wrong = _counts(of, cut, layout)
    return {} if wrong or _solve(cut, tuple(counts)) is None else _room(cut, counts)


def feasible(of: Sku | Geometry, profiles: Iterable[str] | None = None) -> list[dict[str, int]]:
    """Every non-empty layout that fits, of the given profiles (default: those without attributes)."""
    cut = mig.geometry(of)
    return [_named(cut, counts) for counts in _feasible(cut, _among(cut, profiles))] if cut else []


def maximal(of: Sku | Geometry, profiles: Iterable[str] | None = None) -> list[dict[str, int]]:
    """The feasible layouts to which no instance of the given profiles can be added."""
    cut = mig.geometry(of)
    if cut is None:
        return []
    among = _among(cut, profiles)
    return [
        _named(cut, counts)
        for counts in _feasible(cut, among)
        if not any(_fits(cut, _plus(counts, at)) for at in among)
    ]


def _counts(of: Sku | Geometry, cut: Geometry, layout: Mapping[str, int]) -> tuple[list[int], str]:
    """Instances by index of profile, and the first thing wrong with the layout's names or counts, or ""."""
    counts = [0] * len(cut.profiles)
    wrong = ""
    for name, count in layout.items():
        profile = mig.profile(cut, name)
        if profile is None:
            wrong = wrong or _unknown(of, cut, name)
        elif count < 0:
            wrong = wrong or f"{count} instances of {name} are asked for; ask for 0 or more"
        else:
            counts[cut.profiles.index(profile)] += count
    return counts, wrong


def _among(cut: Geometry, names: Iterable[str] | None) -> list[int]:
    """Indices of the named profiles; names the geometry lacks are left out."""
    wanted = cut.plain() if names is None else [mig.profile(cut, name) for name in names]
    return sorted({cut.profiles.index(profile) for profile in wanted if profile})


def _feasible(cut: Geometry, among: list[int]) -> Iterator[tuple[int, ...]]:
    """Counts of every layout that fits. What contains a misfit does not fit, so growth stops at one."""
    stack = [((0,) * len(cut.profiles), 0)]
    while stack:
        counts, first = stack.pop()
        for step, at in enumerate(among[first:], first):
            grown = _plus(counts, at)
            if _fits(cut, grown):
                yield grown
                stack.append((grown, step))


def _plus(counts: Sequence[int], at: int, more: int = 1) -> tuple[int, ...]:
    return tuple(count + more * (index == at) for index, count in enumerate(counts))


def _fits(cut: Geometry, counts: tuple[int, ...]) -> bool:
    return _solve(cut, counts) is not None


def _shortage(cut: Geometry, counts: Sequence[int]) -> str:
    """What a layout asks more of than the whole GPU has, or "". Placement comes after this."""
    for profile, count in zip(cut.profiles, counts, strict=True):
        if count > profile.max_instances:
            noun = "instance" if profile.max_instances == 1 else "instances"
            return f"one GPU holds at most {profile.max_instances} {noun} of {profile.name}, and {count} are asked for"
    limits = (
        ("compute slices", cut.compute, [profile.compute_slices for profile in cut.profiles]),
        ("video decoders", cut.decoders, [profile.decoders for profile in cut.profiles]),
        ("optical flow accelerators", cut.ofa, [profile.ofa for profile in cut.profiles]),
        ("memory slices", cut.memory, [profile.memory_slices for profile in cut.profiles]),
    )
    for what, have, each in limits:
        need = sum(count * part for count, part in zip(counts, each, strict=True))
        if need > have:
            return f"{_sum(cut, counts)} need {need} {what}, and the GPU has {have}"
    return ""


@lru_cache(maxsize=4096)
def _solve(cut: Geometry, counts: tuple[int, ...]) -> tuple[tuple[int, ...], ...] | None:
    """The starts of the instances of each profile, or None if no placement exists.

    Largest first; instances of one profile take rising starts, so no arrangement is tried twice.
    """
    if _shortage(cut, counts):
        return None
    order = sorted((at for at, count in enumerate(counts) if count), key=lambda at: -cut.profiles[at].size)
    jobs = [cut.profiles[at] for at in order for _ in range(counts[at])]
    chosen: list[int] = []

    def search(job: int, used: int) -> bool:
        if job == len(jobs):
            return True
        profile = jobs[job]
        after = chosen[-1] if job and jobs[job - 1] is profile else -1
        unit = (1 << profile.size) - 1
        for start in profile.starts:
            if start > after and not used & (unit << start):
                chosen.append(start)
                if search(job + 1, used | (unit << start)):
                    return True
                chosen.pop()
        return False

    if not search(0, 0):
        return None
    starts: list[list[int]] = [[] for _ in counts]
    for profile, start in zip(jobs, chosen, strict=True):
        starts[cut.profiles.index(profile)].append(start)
    return tuple(tuple(each) for each in starts)


def _part(cut: Geometry, counts: Sequence[int]) -> tuple[int, ...]:
    """The part of a layout that fits: instance after instance, the largest first, while there is space."""
    part = (0,) * len(cut.profiles)
    wanted = list(counts)
    for at in sorted(range(len(wanted)), key=lambda at: -cut.profiles[at].size):
        for _ in range(min(wanted[at], cut.profiles[at].max_instances)):
            if not _fits(cut, _plus(part, at)):
                break
            part = _plus(part, at)
    return part


def _room(cut: Geometry, counts: Sequence[int]) -> dict[str, int]:
    found = {}
    for at, profile in enumerate(cut.profiles):
        more = 0
        while _fits(cut, _plus(counts, at, more + 1)):
            more += 1
        if more:
            found[profile.name] = more
    return found


def _named(cut: Geometry, counts: Sequence[int]) -> dict[str, int]:
    return {profile.name: count for profile, count in zip(cut.profiles, counts, strict=True) if count}


def _sum(cut: Geometry, counts: Sequence[int]) -> str:
    return " + ".join(f"{count}×{name}" for name, count in _named(cut, counts).items())


def _why(cut: Geometry, counts: Sequence[int]) -> str:
    short = _shortage(cut, counts)
    if short:
        return short
    left = next((p for p, want, have in zip(cut.profiles, counts, _part(cut, counts), strict=True) if want > have))
    return (
        f"no arrangement of {_sum(cut, counts)} has free memory slices for all of them: "
        f"{left.name} takes {left.size} and starts only at {_starts(left)}"
    )


def _starts(profile: Profile) -> str:
    return ", ".join(map(str, profile.starts))


def _unknown(of: Sku | Geometry, cut: Geometry, name: str) -> str:
    near = mig.close(cut, name) or [profile.name for profile in cut.plain()]
    return f"{_name(of)} has no MIG profile {name}; it has {', '.join(near)}"


def _name(of: Sku | Geometry) -> str:
    return of.name if isinstance(of, Sku) else "this GPU"
