"""What inference cost: the figures that its forms share."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from plimsoll.cost.served import Inference, Served
from plimsoll.report.cost import words

HEADS = ("MODEL", "TENANT", "REQ", "TOK-IN", "TOK-OUT", "COST", "IDLE", "PER REQ", "PER MTOK-IN", "PER MTOK-OUT")
TEXTS = (0, 1)


def rows(found: Inference) -> list[tuple[str, ...]]:
    """The cells under HEADS, the total last."""
    said = [_row(each) for each in found.rows]
    counts = (f"{sum(getattr(each, name) for each in found.rows):,}" for name in ("requests", "prompt", "output"))
    return [*said, ("TOTAL", "", *counts, words.money(found.cost), words.money(found.idle), "", "", "")]


def _row(each: Served) -> tuple[str, ...]:
    model, tenant = (words.plain(name) for name in (each.model, each.tenant))
    return (
        model, tenant or "(nobody named)", f"{each.requests:,}", f"{each.prompt:,}", f"{each.output:,}",
        words.money(each.cost), words.money(each.idle), price(each.per_request), price(each.per_million_prompt),
        price(each.per_million_output),
    )  # fmt: skip


def price(micro: Fraction | None) -> str:
    """A price that may be far below a cent: four digits that tell something."""
    if micro is None:
        return ""
    found = float(micro) / 1_000_000
    return f"{found:,.2f}" if found >= 100 or not found else f"{found:#.4g}" if found >= 0.0001 else f"{found:.2e}"


def exact(micro: Fraction | None) -> Decimal | None:
    """For programs: units of the currency with twelve decimals."""
    return None if micro is None else Decimal(round(micro * 1_000_000)).scaleb(-12)


def sentence(found: Inference) -> str:
    bill = found.found.bill
    return (
        f"models cost {words.exact(found.cost + found.idle):,f} {bill.currency} of {words.exact(bill.total):,f}, "
        f"{words.period(found.found.window)}"
    )


def notes(found: Inference) -> list[str]:
    """What tokens weigh, then what has to be known beside every bill."""
    said = []
    for each in found.found.bill.weighed:
        name = words.plain(each.model)
        ratio = each.weights.output / each.weights.prompt if each.weights.prompt else None
        weighs = "only output tokens weigh" if ratio is None else f"an output token weighs {ratio:.3g} prompt tokens"
        basis = each.source
        if each.source == "fitted":
            basis = f"fitted to {each.intervals} hours of its engines"
        elif each.intervals:
            basis = f"by default: {each.intervals} measured hours do not tell"
        said.append(f"{name}: {weighs}, {basis}")
    return [*said, *words.notes(found.found)]
