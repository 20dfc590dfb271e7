"""The biggest spenders in Markdown."""

from __future__ import annotations

from plimsoll.cost.statement import Statement
from plimsoll.report.cost import words
from plimsoll.report.cost.markdown import table
from plimsoll.report.cost.spenders import HEADS, TEXTS, rows
from plimsoll.report.escape import text


def render(found: Statement) -> str:
    lines = [f"# Biggest spenders by {found.bill.query.by}", "", f"**{words.balance(found)}.**", ""]
    lines += table(HEADS, rows(found), texts=TEXTS)
    return "\n".join([*lines, "", *(f"- {text(each)}" for each in words.notes(found))]) + "\n"
