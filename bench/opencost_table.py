"""One cluster billed by our ledger and by the allocation formula of OpenCost: who is wrong by how much.

    python bench/opencost_table.py [-o markdown]

What is true is worked out from how each cluster was made (tests/unit/cost/truth.py), in fractions, not by our queries.
The formula is in bench/opencost_formula.py, with what it leaves out. Money is that of the pods, for one day.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from bench.opencost_formula import GPU, Asked, Machine, allocate  # noqa: E402  found from the repository's root
from plimsoll.cost.bill import Query, bill  # noqa: E402
from plimsoll.cost.ledger import Ledger  # noqa: E402
from plimsoll.cost.sample import HOUR  # noqa: E402
from plimsoll.cost.store import open_store  # noqa: E402
from tests.unit.cost.truth import START, TARIFF, TrueNode, TruePod, Truth  # noqa: E402

DAY = 24 * HOUR
MINUTE = 60_000
NODE = 55_040_000  # p5.48xlarge on demand, as in tests/unit/cost/truth.py: micro-dollars an hour
GPUS = 8
GRIDS = (300_000, 60_000)


@dataclass
class Case:
    """A cluster of one day, as it was and as the formula is told of it. weighted: sharers pay by their weights."""

    name: str
    truth: Truth
    asked: list[Asked]
    weighted: bool = False


@dataclass(frozen=True)
class Row:
    """Money in micro-units. ours_off: our worst pod.

    theirs, worst, by grid: all pods; and of the pod that is wrong by most, the factor of what it truly cost.
    """

    name: str
    truth: Fraction
    ours: int
    ours_off: Fraction
    theirs: tuple[Fraction, ...]
    worst: tuple[Fraction, ...]


def _node(layout: tuple[str, ...] = (), *, price: int = NODE) -> TrueNode:
    node = TrueNode("n", "gold", GPUS, START, START + DAY, [(START, price)])
    node.cuts = {f"g{place}": [(START, START + DAY, layout)] for place in range(GPUS)}
    return node


def _pod(name: str, began: int, ended: int, slots: list[tuple[str, str]], *, ran: int = 0, uid: str = "") -> TruePod:
    """A pod of `began` to `ended` milliseconds of the day, on these GPUs and instances."""
    return TruePod(uid or name, name, "", "team", "n", START + began, START + ended, slots, ran=START + (ran or began))


def _case(name: str, node: TrueNode, pods: list[TruePod], requests: dict[str, int] | None = None, *,
          machine: Machine | None = None, cores: int = 0, gib: int = 0) -> Case:  # fmt: skip
    """The formula is told a price per GPU that makes up the node's, its best case, where no machine is given."""
    seen = machine or Machine(NODE, GPUS, gpu_price=NODE // GPUS)
    asked = [
        Asked(pod.name, seen, pod.ran, pod.ended, {GPU: len(pod.slots)} if requests is None else requests, cores, gib)
        for pod in pods
    ]
    return Case(name, Truth([node], pods, [], START + DAY), asked)


def _instances(layout: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(f"g{gpu}", f"{START}-{place}") for gpu in range(GPUS) for place in range(len(layout))]


def _spans(random: Random, count: int) -> list[tuple[int, int]]:
    """Hours from and to, not on any grid."""
    found = []
    for _ in range(count):
        began = random.randrange(0, 12 * HOUR)
        found.append((began, began + random.randrange(2 * HOUR, 12 * HOUR)))
    return found


def whole() -> Case:
    spans = _spans(Random(1), GPUS)
    pods = [_pod(f"train-{gpu}", *span, [(f"g{gpu}", "")]) for gpu, span in enumerate(spans)]
    return _case("whole GPUs", _node(), pods)


def mig_single() -> Case:
    layout = ("1g.10gb",) * 7
    slots = _instances(layout)
    pods = [_pod(f"nb-{place}", *span, [slots[place]])
            for place, span in enumerate(_spans(Random(2), len(slots)))]  # fmt: skip
    return _case("MIG, strategy single: 7 × 1g.10gb", _node(layout), pods)


def mig_split() -> Case:
    """The same cluster. Without a price per GPU the count of GPUs is what the node offers: the instances."""
    return replace(
        mig_single(), name="the same without a price per GPU",
        asked=[replace(pod, machine=Machine(NODE, 7 * GPUS)) for pod in mig_single().asked],
    )  # fmt: skip


def mig_mixed() -> Case:
    layout = ("3g.40gb", "3g.40gb")
    slots = _instances(layout)
    pods = [_pod(f"nb-{place}", *span, [slots[place]])
            for place, span in enumerate(_spans(Random(3), len(slots)))]  # fmt: skip
    return _case("MIG, strategy mixed: 2 × 3g.40gb", _node(layout), pods, {"nvidia.com/mig-3g.40gb": 1})


def _shared(name: str, requests: dict[str, int], sharers: int) -> Case:
    spans = _spans(Random(4), GPUS * sharers)
    pods = [_pod(f"dev-{place}", *span, [(f"g{place % GPUS}", "")]) for place, span in enumerate(spans)]
    return _case(name, _node(), pods, requests)


def time_sliced_renamed() -> Case:
    return _shared("time-slices of 4, renamed to nvidia.com/gpu.shared", {"nvidia.com/gpu.shared": 1}, 4)


def time_sliced() -> Case:
    return _shared("time-slices of 4, not renamed", {GPU: 1}, 4)


def mps() -> Case:
    pods = [_pod(f"serve-{place}", 0, DAY, [(f"g{place % GPUS}", "")]) for place in range(2 * GPUS)]
    for place, pod in enumerate(pods):
        pod.weight = 3 if place < GPUS else 1
    case = _case("MPS, a share of 3 beside one of 1", _node(), pods, {GPU: 1})
    case.weighted = True
    return case


def short() -> Case:
    random = Random(5)
    pods: list[TruePod] = []
    for gpu in range(GPUS):
        at = 0
        while at < DAY - 15 * MINUTE:
            length = random.randrange(20_000, 10 * MINUTE)
            pods.append(_pod(f"eval-{len(pods)}", at, at + length, [(f"g{gpu}", "")]))
            at += length + random.randrange(1000, 60_000)
    return _case("jobs of 20 s to 10 min", _node(), pods)


def pulling() -> Case:
    slots = [(f"g{gpu}", "") for gpu in range(GPUS)]
    pods = [
        _pod(f"serve-{turn}", turn * 2 * HOUR, turn * 2 * HOUR + 90 * MINUTE, slots, ran=turn * 2 * HOUR + 25 * MINUTE)
        for turn in range(12)
    ]
    return _case("25 min of image pull before 65 min of work", _node(), pods)


def price_split() -> Case:
    pods = [_pod("train", 0, DAY, [(f"g{gpu}", "") for gpu in range(GPUS)])]
    name = "p5.48xlarge without a price per GPU: all 8 GPUs, 16 cores, 64 GiB"
    return _case(name, _node(), pods, machine=Machine(NODE, GPUS), cores=16, gib=64)


def spot() -> Case:
    case = whole()
    bought = NODE * 2 // 5
    return replace(case, name="spot at 40 % of the list price", truth=replace(case.truth, nodes=[_node(price=bought)]))


def evictions() -> Case:
    """Pods of a StatefulSet that is pushed out for three hours, twice: the same names come back."""
    pods = [
        _pod(f"worker-{gpu}", start, start + 4 * HOUR, [(f"g{gpu}", "")], uid=f"worker-{gpu}-{turn}")
        for gpu in range(GPUS)
        for turn, start in enumerate((HOUR, 8 * HOUR, 15 * HOUR))
    ]
    return _case("pushed out twice for 3 h, back under the same names", _node(), pods)


CASES: tuple[Callable[[], Case], ...] = (
    whole, mig_single, mig_split, mig_mixed, time_sliced_renamed, time_sliced, mps, short, pulling, price_split, spot,
    evictions,
)  # fmt: skip


def compare(case: Case) -> Row:
    """A case billed both ways."""
    ended = START + DAY
    exact = case.truth.exact(START, ended, weighted=case.weighted)
    ledger = Ledger(open_store(":memory:"))
    ledger.write(case.truth.records())
    asked = Query(by="job", began=START, ended=ended, split="requested" if case.weighted else "even")
    lines = {line.id: line.cost for line in bill(ledger, TARIFF, asked).lines}
    ledger.store.close()
    names: dict[str, Fraction] = defaultdict(Fraction)
    for pod in case.truth.pods:
        names[pod.name] += exact[pod.uid]
    theirs = [allocate(case.asked, START, ended, step) for step in GRIDS]
    return Row(
        case.name,
        sum(names.values(), Fraction()),
        sum(lines[pod.uid] for pod in case.truth.pods),
        max(abs(lines[pod.uid] - exact[pod.uid]) for pod in case.truth.pods),
        tuple(sum(found.values(), Fraction()) for found in theirs),
        tuple(
            max((found[name] / cost for name, cost in names.items()), key=lambda of: abs(of - 1)) for found in theirs
        ),
    )


TITLES = ("one day", "truth, $", "ledger, $", "off", "formula, $", "off", "worst pod", "at 60 s, $", "off", "worst pod")


def cells(row: Row) -> tuple[str, ...]:
    """A row in words. Ours is off by 0 where every pod is less than a micro-dollar off."""

    def money(value: Fraction | int) -> str:
        return f"{float(value) / 1e6:,.2f}"

    def off(value: Fraction | int) -> str:
        change = float(value / row.truth - 1) * 100 if row.truth else 0.0
        return f"{change:+.1f} %"

    def times(value: Fraction) -> str:
        return f"× {float(value):.2f}"

    ours = "0" if row.ours_off < 1 else f"{float(row.ours_off):.1f} µ$"
    found = [row.name, money(row.truth), money(row.ours), ours]
    for all_pods, worst in zip(row.theirs, row.worst, strict=True):
        found += [money(all_pods), off(all_pods), times(worst)]
    return tuple(found)


def markdown(rows: list[Row]) -> str:
    lines = [TITLES, ("---", *("---:" for _ in TITLES[1:])), *map(cells, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table(rows: list[Row]) -> str:
    lines = [TITLES, *map(cells, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(TITLES))]
    return "".join(
        "  ".join(cell.ljust(width) if not place else cell.rjust(width)
                  for place, (cell, width) in enumerate(zip(line, widths, strict=True))) + "\n"
        for line in lines
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", choices=("table", "markdown"), default="table")
    rows = [compare(case()) for case in CASES]
    print((markdown if parser.parse_args().output == "markdown" else table)(rows), end="")


if __name__ == "__main__":
    main()
