"""What a request costs: the price of an engine divided by the work that tokens are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

INTERVALS_MIN = 12  # of an hour each: fewer are a coincidence
ANGLE_MIN = 0.01  # sin² between prompt and output tokens over the intervals: below, one explains the other
RESIDUAL_MAX = 0.5  # above, other things than tokens keep these engines busy


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


class Fit(NamedTuple):
    """Weights in busy milliseconds per token, and how far they can be believed.

    intervals: how many they come from. residual: of the variance of the busy time, what they leave unexplained: 0 to 1.
    """

    weights: Weights
    intervals: int
    residual: float

    @property
    def good(self) -> bool:
        enough = self.intervals >= INTERVALS_MIN and self.residual <= RESIDUAL_MAX
        return enough and self.weights.prompt > 0 and self.weights.output > 0


class Sums(NamedTuple):
    """What a fit needs of any number of intervals: sums of squares and products. number: of intervals; p, o, b:
    prompt, output, busy."""

    number: int = 0
    pp: float = 0.0
    po: float = 0.0
    oo: float = 0.0
    pb: float = 0.0
    ob: float = 0.0
    bb: float = 0.0
    b: float = 0.0


def sums(intervals: Iterable[Interval]) -> Sums:
    columns = [(p * p, p * o, o * o, p * b, o * b, b * b, b) for b, p, o in intervals]
    return Sums(len(columns), *(sum(column) for column in zip(*columns, strict=True)))


def fit(intervals: Iterable[Interval]) -> Weights | None:
    """Busy milliseconds per token, by non-negative least squares; None where the intervals do not tell them apart."""
    found = fitted(sums(intervals))
    return found.weights if found else None


def fitted(of: Sums, angle: float = 1e-9) -> Fit | None:
    """The same with its residual. angle: sin² between the two kinds of tokens that is asked for."""
    count, pp, po, oo, pb, ob, bb, b = of
    determinant = pp * oo - po * po
    if determinant <= angle * pp * oo:
        return None
    weights = Weights((pb * oo - ob * po) / determinant, (ob * pp - pb * po) / determinant)
    if weights.prompt < 0 or weights.output < 0:
        # The best point is on an edge: only one kind of token explains anything. The edge that explains more is it.
        prompt_only, output_only = Weights(max(pb / pp, 0), 0), Weights(0, max(ob / oo, 0))
        weights = prompt_only if pb * max(pb, 0) / pp >= ob * max(ob, 0) / oo else output_only
    if not any(weights):
        return None
    p, o = weights
    left = max(bb - 2 * (p * pb + o * ob) + p * p * pp + 2 * p * o * po + o * o * oo, 0)
    variance = bb - b * b / count
    return Fit(weights, count, min(left / variance, 1.0) if variance > 1e-9 * bb else float(left > 1e-9 * bb))


def whole(weights: Weights) -> Weights:
    """The weights as whole numbers, the larger one a million."""
    scale = 1_000_000 / max(weights)
    return Weights(round(weights.prompt * scale), round(weights.output * scale))


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
