"""JUnit XML, for CI systems: one suite per pillar, one case per check."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from plimsoll.check.model import Check, Verdict
from plimsoll.check.run import Judgement, Review
from plimsoll.report.view import remedy, shown

# What XML 1.0 cannot carry, however it is escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(review: Review, pillars: tuple[str, ...]) -> str:
    root = ET.Element("testsuites", name="plimsoll")
    for pillar in pillars:
        checks = [check for check in review.asked if check.pillar == pillar]
        verdicts = [review.verdicts[check.id] for check in checks]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=pillar,
            tests=str(len(checks)),
            failures=str(sum(verdict is Verdict.FAIL for verdict in verdicts)),
            skipped=str(sum(verdict in (Verdict.UNKNOWN, Verdict.WAIVED) for verdict in verdicts)),
            errors="0",
        )
        for check in checks:
            _case(suite, check, review)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, check: Check, review: Review) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"plimsoll.{check.pillar}", name=f"{check.id} {check.title}")
    own = [each for each in review.judgements if each.check.id == check.id]
    failed = [each for each in own if each.verdict is Verdict.FAIL]
    if failed:
        failure = ET.SubElement(case, "failure", type=str(failed[0].severity), message=_xml(failed[0].finding.title))
        failure.text = _xml("\n\n".join(_story(each, review) for each in failed))
    elif own:
        ET.SubElement(case, "skipped", message=_xml(_reason(own[0])))


def _reason(each: Judgement) -> str:
    if each.waiver:
        return f"waived by {each.waiver.owner} until {each.waiver.until}: {each.waiver.reason}"
    return f"unknown: {each.finding.unknown}"


def _story(each: Judgement, review: Review) -> str:
    behind = [
        f"{review.judgements[index].check.id} {review.judgements[index].finding.object}" for index in each.hidden_behind
    ]
    lines = [f"{each.finding.object}: {each.finding.title}"]
    lines += [f"saw {item.path} = {shown(item.value)}" for item in each.finding.evidence]
    lines.append(f"explained by {', '.join(behind)}" if behind else f"do: {remedy(each)}")
    return "\n".join(lines)


def _xml(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
