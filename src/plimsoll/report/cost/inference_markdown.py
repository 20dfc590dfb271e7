"""What inference cost, in Markdown."""

from __future__ import annotations

from plimsoll.cost.served import Inference
from plimsoll.report.cost import inference
from plimsoll.report.cost.markdown import table
from plimsoll.report.escape import text


def render(found: Inference) -> str:
    lines = ["# Inference", "", f"**{text(inference.sentence(found))}.**", ""]
    lines += table(inference.HEADS, inference.rows(found), texts=inference.TEXTS)
    return "\n".join([*lines, "", *(f"- {text(each)}" for each in inference.notes(found))]) + "\n"
