"""What a request costs: the price of an engine divided by the work that tokens are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Weights(NamedTuple):
    """Work of one prompt token that had to be computed, and of one output token, in any one unit.

    The default holds until engines were measured: one decoded token takes a pass over the weights that prefill shares
    among many, and public price lists charge it three to five times a prompt token.
    """

    prompt: float = 1.0
    output: float = 4.0


class Interval(NamedTuple):
    """What an engine was measured to do: milliseconds busy, uncached prompt tokens, output tokens."""

    busy: float
    prompt: float
    output: float


def fit(intervals: Iterable[Interval]) -> Weights | None:
    """Busy milliseconds per token, by non-negative least squares; None where the intervals do not tell them apart."""
    pp = po = oo = pb = ob = 0.0
    for busy, prompt, output in intervals:
        pp, po, oo = pp + prompt * prompt, po + prompt * output, oo + output * output
        pb, ob = pb + prompt * busy, ob + output * busy
    determinant = pp * oo - po * po
    if determinant <= 1e-9 * pp * oo:
        return None
    weights = Weights((pb * oo - ob * po) / determinant, (ob * pp - pb * po) / determinant)
    if weights.prompt >= 0 and weights.output >= 0:
        return weights if any(weights) else None
    # The best point is on an edge: only one kind of token explains anything. The edge that explains more is it.
    prompt_only, output_only = Weights(max(pb / pp, 0), 0), Weights(0, max(ob / oo, 0))
    best = prompt_only if pb * max(pb, 0) / pp >= ob * max(ob, 0) / oo else output_only
    return best if any(best) else None


def work(weights: Weights, prompt: int, cached: int, output: int) -> int:
    """The work of these tokens as a whole number to share by. Cached prompt tokens cost none."""
    scale = 1_000_000 / max(weights)
    return round(max(prompt - cached, 0) * weights.prompt * scale + output * weights.output * scale)


def share(total: int, works: Sequence[int]) -> list[int]:
    """`total` in whole parts that are as the works are and add up to it; by requests of equal work where all are 0."""
    if not works:
        return []
    if not any(works):
        works = [1] * len(works)
    whole, done, given, found = sum(works), 0, 0, []
    for each in works:
        done += each
        found.append(total * done // whole - given)
        given += found[-1]
    return found
