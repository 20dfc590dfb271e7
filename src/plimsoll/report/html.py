"""One self-contained HTML page: readable without JavaScript, prints well, follows light and dark."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from markupsafe import Markup, escape

from plimsoll.check.model import Severity
from plimsoll.check.run import Review
from plimsoll.check.score import summarise
from plimsoll.kube.nodes import allocatable, capacity, gpu_nodes
from plimsoll.kube.objects import labels, name
from plimsoll.report.templating import filled
from plimsoll.report.view import affected, amount, not_read, remedy, sentence, shown, view


class Tile(NamedTuple):
    """One GPU node in the picture of the fleet."""

    name: str
    state: str  # ok | critical | error | warning
    gpus: str  # what it offers now
    why: str  # its root cause in one sentence; "" if it has none


class Rack(NamedTuple):
    """The tiles of one GPU product."""

    product: str
    tiles: tuple[Tile, ...]


def render(review: Review, pillars: tuple[str, ...]) -> str:
    seen = view(review)
    return filled(
        "report.html",
        alarm=bool(seen.faults),
        filters={"remedy": remedy, "prose": _prose, "shown": shown},
        amount=amount,
        review=review,
        snapshot=review.snapshot,
        seen=seen,
        sentence=sentence(review),
        racks=_racks(review),
        pillars=summarise(review, pillars),
        not_read=not_read(review),
        counts=sorted(review.snapshot.counts().items(), key=lambda item: -item[1])[:12],
        passed=[check for check in review.asked if review.verdicts[check.id].value == "pass"],
    )


def _prose(text: str) -> Markup:
    """Our own words as HTML: what stands in backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  escaped just before


def _racks(review: Review) -> tuple[Rack, ...]:
    """Every GPU node as a tile, coloured by the worst root cause that affects it now."""
    causes = affected(review)
    racks: dict[str, list[Tile]] = defaultdict(list)
    for node in gpu_nodes(review.snapshot):
        own = causes.get(f"node/{name(node)}", [])
        worst = max((each.severity for each in own), default=Severity.INFO)
        have, can = capacity(node), allocatable(node)
        offers = (f"{can.get(res, 0)}/{n} {res.partition('/')[2]}" for res, n in have.items() if n)
        gpus = ", ".join(offers) or "none offered"
        why = next((f"{each.check.id} {each.finding.title}" for each in own if each.severity == worst), "")
        state = str(worst) if worst >= Severity.WARNING else "ok"
        racks[labels(node).get("nvidia.com/gpu.product", "GPU")].append(Tile(name(node), state, gpus, why))
    return tuple(Rack(product, tuple(tiles)) for product, tiles in sorted(racks.items()))
