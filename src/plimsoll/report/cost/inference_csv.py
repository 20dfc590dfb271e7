"""What inference cost, for spreadsheets."""

from __future__ import annotations

from plimsoll.cost.served import Inference
from plimsoll.cost.window import text
from plimsoll.report.cost import inference, words
from plimsoll.report.cost.csv import sheet

HEADS = (
    "model", "tenant", "from", "until", "currency", "requests", "prompt_tokens", "cached_ratio", "output_tokens",
    "cost", "prompt_cost", "output_cost", "idle", "per_request", "per_million_prompt_tokens",
    "per_million_output_tokens",
)  # fmt: skip


def render(found: Inference) -> str:
    window = found.found.window
    rows = [
        (each.model, each.tenant, text(window.began), text(window.ended), found.found.bill.currency, each.requests,
         each.prompt, f"{each.cached:.6f}", each.output,
         *map(words.exact, (each.cost, each.prompt_cost, each.output_cost, each.idle)),
         *map(inference.exact, (each.per_request, each.per_million_prompt, each.per_million_output)))
        for each in found.rows
    ]  # fmt: skip
    return sheet(HEADS, rows)
