"""A check's page: the same text at the terminal and under docs/reference/checks/."""

from __future__ import annotations

from plimsoll.check.model import Check, Layer
from plimsoll.report.view import as_shell


def page(check: Check) -> str:
    """Markdown."""
    needs = [str(kind) for kind in dict.fromkeys((*check.reads, *check.whole))]
    whole = [str(kind) for kind in check.whole]
    place = "a risk: it breaks nothing today" if check.layer is Layer.RISK else f"layer {check.layer.name.lower()}"
    lines = [
        f"# {check.id}: {check.title}",
        "",
        f"- pillar: {check.pillar}",
        f"- severity: {check.severity}",
        f"- {place}",
        f"- reads: {', '.join(needs)}",
    ]
    if whole:
        lines.append(f"- unknown unless whole: {', '.join(whole)}")
    if check.needs_platform:
        lines.append("- needs: platform.yaml")
    lines += [
        "",
        check.why,
        "",
        "## Remedy",
        "",
        "```sh",
        as_shell(check.remedy),
        "```",
        "",
        f"Source: {check.source}",
        "",
    ]
    return "\n".join(lines)
