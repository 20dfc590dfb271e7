"""A month in Markdown."""

from __future__ import annotations

from plimsoll.cost.monthly import Monthly
from plimsoll.report.cost import monthly
from plimsoll.report.cost.markdown import table
from plimsoll.report.escape import text


def render(found: Monthly) -> str:
    lines = [f"# {text(monthly.title(found))}", "", f"**{text(monthly.sentence(found))}.**"]
    for each in monthly.sections(found):
        lines += ["", f"## {each.title}", "", *table(each.heads, each.rows, texts=each.texts)]
        if each.said:
            lines += ["", *(text(said) for said in each.said)]
    lines += ["", "## What to know", "", *(f"- {text(each)}" for each in monthly.notes(found))]
    return "\n".join(lines) + "\n"
