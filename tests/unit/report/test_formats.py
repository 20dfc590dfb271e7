"""Every format: complete, well-formed, and safe with text that somebody else chose."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib import import_module
from xml.etree import ElementTree as ET

import jsonschema_rs
import pytest

from plimsoll.check.model import Case, Check, Finding, Layer, Severity, check
from plimsoll.check.run import Review, review
from plimsoll.check.waive import Waiver
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, name
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread
from plimsoll.report.json import schema
from plimsoll.report.view import as_shell

PILLARS = ("operator", "security")
HOSTILE = "<script>alert(1)</script> [link](javascript:x) |cell| `tick` \x1b[31m\x00 \u202e {{7*7}} [bold]rich[/]"
FORMATS = ("table", "json", "sarif", "junit", "html", "markdown", "prometheus")


@check("T1", Severity.ERROR, Layer.PLUGIN, reads=(kinds.NODE,), remedy="kubectl get node", source="test")
def cause(case: Case) -> Iterator[Finding]:
    """The plugin runs.

    Without it nothing runs: <b>nothing</b>."""
    for node in case.snapshot.list(kinds.NODE):
        yield case.finding(node, f"plugin is down: {HOSTILE}", "status.note", affects=[f"node/{name(node)}"])


@check("T2", Severity.ERROR, Layer.CAPACITY, reads=(kinds.NODE,), remedy="wait", source="test")
def consequence(case: Case) -> Iterator[Finding]:
    """The node offers GPUs.

    That is what it is for."""
    for node in case.snapshot.list(kinds.NODE):
        yield case.finding(node, "offers none", "status.allocatable", affects=[f"node/{name(node)}"])


@check("T3", Severity.WARNING, Layer.RISK, reads=(kinds.NAMESPACE,), remedy="label it", source="test")
def risk(case: Case) -> Iterator[Finding]:
    """Namespaces are labelled.

    Labels select policies."""
    for space in case.snapshot.list(kinds.NAMESPACE):
        yield case.finding(space, "has no label", "metadata.labels")


@check("T4", Severity.CRITICAL, Layer.RISK, reads=(kinds.POD,), remedy="look", source="test")
def unread(case: Case) -> Iterator[Finding]:
    """Pods are fine.

    Pods matter."""
    yield from ()


def answer() -> Review:
    nodes: list[Obj] = [
        {"apiVersion": "v1", "kind": "Node",
         "metadata": {"name": f"n{i}", "labels": {"nvidia.com/gpu.present": "true"}},
         "status": {"note": HOSTILE, "allocatable": {"nvidia.com/gpu": "0"}}}
        for i in range(30)
    ]  # fmt: skip
    spaces: list[Obj] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in ("a", HOSTILE)]
    snapshot = Snapshot(
        [*nodes, *spaces],
        source=Source("manifest", f"dir/{HOSTILE}.yaml"),
        taken_at=datetime(2026, 11, 24, 11, tzinfo=UTC),
        coverage={kinds.NODE: Coverage.WHOLE, kinds.NAMESPACE: Coverage.WHOLE},
        unread=[Unread(kinds.POD, "forbidden")],
    )
    pillars = ("operator", "operator", "security", "security")
    checks = [
        Check(**{**vars(c), "pillar": p}) for c, p in zip((cause, consequence, risk, unread), pillars, strict=True)
    ]
    waiver = Waiver(check="T3", target="Namespace/a", owner="dana", reason=HOSTILE, until=date(2027, 1, 1))
    return review(snapshot, checks, waivers=[waiver])


def render(form: str) -> str:
    text: str = import_module(f"plimsoll.report.{form}").render(answer(), PILLARS)
    return text


@pytest.mark.parametrize("form", FORMATS)
def test_equal_input_gives_equal_bytes(form: str) -> None:
    assert render(form) == render(form)
    assert render(form).endswith("\n")


@pytest.mark.parametrize("form", FORMATS)
def test_every_root_cause_is_named(form: str) -> None:
    assert "T1" in render(form)
    assert "n0" in render(form)


def test_json_follows_its_published_schema() -> None:
    document = json.loads(render("json"))
    assert not list(jsonschema_rs.validator_for(schema()).iter_errors(document))
    assert document["schemaVersion"] == "plimsoll.dev/report/v1"
    assert (document["summary"]["rootCauses"], document["summary"]["risks"]) == (30, 1)
    assert document["read"]["notRead"] == [{"kind": "Pod", "reason": "forbidden"}]
    hidden = [each for each in document["findings"] if each["id"] == "T2"]
    assert all(not each["rootCause"] and each["hiddenBehind"][0]["id"] == "T1" for each in hidden)
    assert {each["verdict"] for each in document["findings"]} == {"fail", "unknown", "waived"}
    assert {"id", "pillar", "severity", "verdict", "title", "object", "evidence", "why", "remedy", "rootCause",
            "hiddenBehind"} <= set(document["findings"][0])  # fmt: skip
    assert set(document["findings"][0]["object"]) == {"apiVersion", "kind", "namespace", "name"}


def test_sarif_tells_fail_open_and_suppressed_apart() -> None:
    (run,) = json.loads(render("sarif"))["runs"]
    assert {each["kind"] for each in run["results"]} == {"fail", "open"}
    assert all(each["level"] == "none" for each in run["results"] if each["kind"] == "open")
    assert sum("suppressions" in each for each in run["results"]) == 1
    for each in run["results"]:
        assert run["tool"]["driver"]["rules"][each["ruleIndex"]]["id"] == each["ruleId"]
        assert re.fullmatch(r"[\w%/.\-~]+", each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])


def test_junit_counts_what_it_holds() -> None:
    root = ET.fromstring(render("junit").encode())  # noqa: S314  our own
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.get("tests", "")) == len(cases)
        assert int(suite.get("failures", "")) == sum(case.find("failure") is not None for case in cases)
        assert int(suite.get("skipped", "")) == sum(case.find("skipped") is not None for case in cases)


def test_html_is_self_contained_and_escapes() -> None:
    page = render("html")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"""(src|href)=["']?(https?:|//)""", page)
    assert "{{" not in page.replace("{{7*7}}", "")
    assert page.count('class="tile error"') == 30


def test_the_terminal_is_not_driven_by_objects() -> None:
    text = render("table")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]rich[/]" in text
    assert "and 17 more" in text


def test_markdown_makes_no_links_tags_or_cells_of_a_clusters_text() -> None:
    text = render("markdown")
    outside_code = re.sub(r"(`+)[^`]*\1", "", text)
    assert not re.search(r"(?<!\\)<script", outside_code)
    assert not re.search(r"(?<!\\)\]\(", outside_code)


def test_prometheus_lines_are_samples_and_unique() -> None:
    lines = [line for line in render("prometheus").splitlines() if not line.startswith("#")]
    sample = re.compile(r'[a-z_]+(\{([a-z_]+="(\\.|[^"\\\n])*",?)+\})? [0-9.e+]+')
    assert all(sample.fullmatch(line) for line in lines)
    series = [line.rpartition(" ")[0] for line in lines]
    assert len(series) == len(set(series))


def test_a_remedy_is_commands_and_comments() -> None:
    said = "when it is mended: kubectl delete pod x\nraise the limit"
    text = f"kubectl get pods\n{said}\nkubectl patch x \\\n  --type merge\n"
    assert as_shell(text).splitlines() == [
        "kubectl get pods",
        "# when it is mended",
        "kubectl delete pod x",
        "# raise the limit",
        "kubectl patch x \\",
        "  --type merge",
    ]
