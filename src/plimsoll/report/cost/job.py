"""One job: the figures and sentences that its forms share."""

from __future__ import annotations

from plimsoll.cost.job import Job, PodRow
from plimsoll.cost.window import text
from plimsoll.report.cost import words
from plimsoll.report.view import amount

HEADS = ("POD", "NODE", "GPUS", "BEGAN", "ENDED", "RAN FOR", "GPU-H", "USED-H", "EFF", "COST", "LOST", "WHY")
TEXTS = (0, 1, 3, 4, 11)
PHASES = ("PHASE", "FROM", "UNTIL", "LASTED")


def rows(found: Job) -> list[tuple[str, ...]]:
    """The pods as cells under HEADS, the total last."""
    said = [_row(pod, found) for pod in found.pods]
    sums = {name: sum(getattr(pod, name) for pod in found.pods) for name in ("held_ms", "known_ms", "used_ms")}
    figures = (
        words.hours(sums["held_ms"]),
        words.hours(sums["used_ms"]),
        _efficiency(sums["used_ms"], sums["known_ms"]),
    )
    lost = words.money(found.lost) if found.lost else ""
    return [*said, ("TOTAL", "", "", "", "", "", *figures, words.money(found.cost), lost, "")]


def _row(pod: PodRow, found: Job) -> tuple[str, ...]:
    ended = "runs" if pod.ended is None else text(pod.ended)
    return (
        words.plain(pod.name), words.plain(pod.node), str(pod.devices), text(pod.scheduled), ended,
        words.span((found.upto if pod.ended is None else pod.ended) - pod.scheduled), words.hours(pod.held_ms),
        words.hours(pod.used_ms), _efficiency(pod.used_ms, pod.known_ms), words.money(pod.cost),
        words.money(pod.lost) if pod.evicted else "", words.plain(pod.why),
    )  # fmt: skip


def _efficiency(used: int, known: int) -> str:
    return words.percent(min(used / known, 1.0) if known else None)


def phases(found: Job) -> list[tuple[str, ...]]:
    """The phases as cells under PHASES."""
    return [
        (each.name, text(each.began), text(each.ended), words.span(each.ended - each.began)) for each in found.phases
    ]


def title(found: Job) -> str:
    return words.plain(f"job {found.found.name}, uid {found.found.uid}")


def about(found: Job) -> str:
    """Whose it is and what became of it."""
    whose = [f"{what} {words.plain(name)}" for what, name in (("team", found.team), ("model", found.model)) if name]
    if found.workload and found.workload != found.found.name:
        whose.append(f"workload {words.plain(found.workload)}")
    state = f"runs, billed until {text(found.upto)}" if found.ended is None else f"ended {text(found.ended)}"
    return ", ".join([*whose, state]).replace("\n", " ")


def sums(found: Job) -> list[str]:
    """What it cost, and of that what was no work."""
    said = [f"cost {words.exact(found.cost):,f} {found.currency}"]
    if found.starting:
        said.append(f"of it {words.money(found.starting)} before containers ran (images, waiting)")
    evicted = [pod for pod in found.pods if pod.evicted]
    if evicted:
        since = (
            f"their last checkpoint, at most {words.span(found.checkpoint)} before"
            if found.checkpoint
            else "they began"
        )
        pods = amount(len(evicted), "pod was", "pods were")
        said.append(f"{pods} pushed out: {words.money(found.lost)} of work since {since} is lost")
    return said


def notes(found: Job) -> list[str]:
    said = []
    if found.found.others:
        said.append(f"{amount(found.found.others, 'older job has', 'older jobs have')} this name: --uid names one")
    if found.unpriced:
        said.append(f"without a price: {words.listed(found.unpriced)}")
    if any(pod.evicted for pod in found.pods) and not found.checkpoint:
        said.append(
            "no checkpoint interval is declared (spot.checkpoint.interval): all that such a pod did counts as lost"
        )
    if found.sources:
        said.append(f"prices: {words.listed(found.sources)}")
    return said
