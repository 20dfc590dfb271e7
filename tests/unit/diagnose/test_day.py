"""A day whose causes are known, from a ledger, a Prometheus and a cluster's objects, each alone and together."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.window import Window
from plimsoll.diagnose.answer import Diagnosis
from plimsoll.diagnose.gather import Sources, gather
from plimsoll.diagnose.queries import DEVICE, DEVICE_RATES, ENGINE, HOLDERS, POD, QUEUE, slowed
from plimsoll.diagnose.rules import RULES
from plimsoll.diagnose.run import diagnose
from plimsoll.report.diagnose.json import schema
from plimsoll.spec.load import load
from tests.unit.diagnose import answers, scene
from tests.unit.kube import promserver
from tests.unit.report import diagnosed

TRUTH = {  # from all sources
    ("D01", "workload/training/lonely"),
    ("D02", "workload/vision/notebook"),
    ("D11", "workload/vision/notebook"),
    ("D22", "workload/chat/spare"),
    ("D32", "workload/vision/blind"),
    ("D33", "workload/training/loader"),
    ("D41", "gpu/h100-3/GPU-h100-3-7"),
    ("D42", "gpu/h100-3/GPU-h100-3-7"),
    ("D52", "node/h100-2"),
    *(("D62", f"workload/batch/puller-{n}") for n in range(4)),
}
MEASURED = {pair for pair in TRUTH if pair[0] in ("D01", "D02", "D11", "D33", "D41", "D42")}  # by DCGM and cAdvisor


def found(answer: Diagnosis) -> set[tuple[str, str]]:
    return {(each.rule.id, str(each.subject)) for each in answer.findings}


def wasted(answer: Diagnosis) -> dict[str, float]:
    return {f"{each.rule.id} {each.subject}": (each.wasted_per_day or 0) / 1e6 for each in answer.findings}


def test_every_cause_is_found_and_no_other() -> None:
    answer = diagnosed.full()
    assert found(answer) == TRUTH
    said = wasted(answer)
    assert said["D01 workload/training/lonely"] == 7 * 24 * 6  # USD 6 a GPU-hour
    assert said["D02 workload/vision/notebook"] == 22 * 6
    assert said["D62 workload/batch/puller-0"] == 2
    assert said["D22 workload/chat/spare"] == 3 * 24 * 6
    hidden = {each.rule.id: [answer.findings[at].rule.id for at in each.hidden_behind] for each in answer.findings}
    assert hidden["D11"] == ["D02"]
    assert hidden["D41"] == ["D42"]


@pytest.mark.parametrize("name", ["table.txt", "diagnosis.md", "diagnosis.json", "explain.txt", "ledger.txt"])
def test_each_form_says_what_was_reviewed(name: str) -> None:
    kept = (diagnosed.GOLDEN / name).read_text(encoding="utf-8")
    assert diagnosed.files()[name] == kept, "look at the difference; if it is meant, run `make golden` and commit it"


def test_json_is_as_its_schema_says() -> None:
    jsonschema_rs.validate(schema(), json.loads((diagnosed.GOLDEN / "diagnosis.json").read_text()))


def test_nobody_is_judged_who_was_not_measured() -> None:
    answer = diagnosed.full()
    of = {each.rule.id for each in answer.unknown if each.subject.name == "vision/blind"}
    assert {"D01", "D02", "D11"} <= of
    assert all(each.rule.id == "D32" for each in answer.findings if each.subject.name == "vision/blind")
    young = {each.rule.id for each in answer.findings if each.subject.name == "vision/young"}
    assert not young | {each.rule.id for each in answer.unknown if each.subject.name == "vision/young"}


def test_decoding_that_its_bandwidth_bounds_is_left_alone() -> None:
    assert not [each for each in diagnosed.full().findings if each.subject.name == "chat/decoder"]


def test_a_ledger_alone(ledger: Ledger) -> None:
    """In each kind of store; merged or not."""
    ledger.write(scene.records())
    platform = load(scene.PLATFORM.encode(), "platform.yaml")
    sources = Sources(ledger=ledger, platform=platform, tariff=Tariff.of(platform))
    for _ in range(2):
        all_ = gather(sources, Window(scene.START, scene.END), coverage_min=0.8)
        answer = diagnose(all_.subjects, RULES, all_.answer)
        assert found(answer) == {pair for pair in TRUTH if pair[0] in ("D01", "D02", "D62")}
        assert wasted(answer)["D01 workload/training/lonely"] == 1008
        ledger.seal(scene.END)


def test_a_prometheus_alone() -> None:
    with answers.serving() as (url, asked):
        answer = diagnosed.day(ledger=False, prometheus=url, objects=False)
    assert found(answer) == MEASURED
    assert answer.cost is None
    assert all(each.wasted_per_day is None for each in answer.findings)
    wanted = {*DEVICE.values(), *(slowed(each, "600s") for each in DEVICE_RATES.values()), HOLDERS}
    assert wanted <= {each["query"] for each in asked}


def test_objects_alone() -> None:
    answer = diagnosed.day(ledger=False)
    assert found(answer) == {pair for pair in TRUTH if pair[0] in ("D32", "D52")}
    assert answer.sources == ("manifest scene",)


def test_with_less_asked_for_more_is_known() -> None:
    strict, lax = diagnosed.day(objects=False, least=1.0), diagnosed.day(objects=False, least=0.5)
    assert len(strict.unknown) >= len(lax.unknown)
    assert found(strict) <= found(lax)


@pytest.fixture(scope="module", params=["before 4.9", "since 4.9"])
def prometheus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real one with the names of either generation of dcgm-exporter; its pods' names are kept, or `exported_`."""
    old = request.param == "before 4.9"
    samples = scene.exposed(scene.OLD if old else scene.NEW, honored=not old)
    with promserver.serving(tmp_path_factory.mktemp("prometheus"), samples) as url:
        yield url


def test_a_real_prometheus_says_what_the_canned_one_says(prometheus: str) -> None:
    """Whichever names its metrics have."""
    alone = diagnosed.day(ledger=False, prometheus=prometheus, objects=False)
    assert found(alone) == MEASURED
    answer = diagnosed.day(prometheus=prometheus)
    assert found(answer) == TRUTH
    canned = wasted(diagnosed.full())
    assert wasted(answer) == pytest.approx(canned, rel=0.02)


def test_every_query_is_promql(prometheus: str) -> None:
    """A real one takes each of them."""
    from plimsoll.diagnose.queries import OWNERS, RESTARTS, filled
    from plimsoll.kube.prometheus import Prometheus

    every = [*DEVICE.values(), *(slowed(each, "600s") for each in DEVICE_RATES.values()), HOLDERS, OWNERS, RESTARTS,
             *POD.values(), *ENGINE.values(), *QUEUE.values()]  # fmt: skip
    with Prometheus(prometheus) as server:
        for query in every:
            server.instant(filled(query, rate="600s", span="1d", namespaces='namespace=~"a|b"'), at=scene.END / 1000)


# The verb


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger, a declaration and a file of objects."""
    root = tmp_path_factory.mktemp("day")
    scene.write(root / "ledger.duckdb")
    (root / "platform.yaml").write_text(scene.PLATFORM)
    kept = {"apiVersion": "v1", "kind": "List", "items": scene.objects()}
    (root / "objects.json").write_text(json.dumps(kept))
    return root


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plimsoll", "diagnose", *args]
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "XDG_STATE_HOME": str(folder / "state")}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=120)


LEDGER = ("-f", "platform.yaml", "--ledger", "ledger.duckdb", "--window", scene.WINDOW)


def test_the_verb_asks_all_sources(folder: Path) -> None:
    with answers.serving() as (url, _):
        done = run(folder, *LEDGER, "--prometheus", url, "--snapshot", "objects.json", "-o", "json")
    assert done.returncode == 1, done.stderr  # an error stands
    said = json.loads(done.stdout)
    assert {(each["id"], f"{each['subject']['kind']}/{each['subject']['name']}") for each in said["findings"]} == TRUTH
    assert re.search(r'"wastedPerDay": 1008\.000000\b', done.stdout)


def test_the_verb_says_what_stands_by_its_exit_code(folder: Path) -> None:
    done = run(folder, *LEDGER)
    note = "note: 1 workload was not judged: GPUs held for less than 30 minutes\n"
    assert (done.returncode, done.stderr) == (1, note)
    assert done.stdout == (diagnosed.GOLDEN / "ledger.txt").read_text()
    assert run(folder, *LEDGER, "--fail-on", "never").returncode == 0
    assert run(folder, *LEDGER, "--fail-on", "critical").returncode == 0
    assert run(folder, *LEDGER, "--fail-on", "never", "--require-complete").returncode == 3


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("training/lonely", {"D01"}),
        ("workload/training/lonely", {"D01"}),
        ("lonely", {"D01"}),
        ("team/training", {"D01", "D62"}),
        ("namespace/batch", {"D62"}),
        ("*book", {"D02"}),
        ("chat/decoder", set()),
    ],
)
def test_a_target_is_named_as_people_name_it(folder: Path, target: str, expected: set[str]) -> None:
    done = run(folder, target, *LEDGER, "-o", "json")
    assert {each["id"] for each in json.loads(done.stdout)["findings"]} == expected, done.stderr


def test_a_target_that_is_not_there(folder: Path) -> None:
    done = run(folder, "training/lonley", *LEDGER)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean training/lonely" in done.stderr


def test_one_cause_explained(folder: Path) -> None:
    done = run(folder, *LEDGER, "--explain", "d33")
    for said in ("D33 data-loader", "0.5  unevenness", "our own reasoning", "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
                 "unknown workload/training/loader: needs busy.cv (Prometheus with dcgm-exporter)"):  # fmt: skip
        assert said in done.stdout
    assert run(folder, *LEDGER, "--explain", "D99").returncode == 2


def test_of_a_file_alone_the_window_ends_when_it_was_taken(folder: Path) -> None:
    done = run(folder, "--snapshot", "objects.json", "-o", "json")
    assert {each["id"] for each in json.loads(done.stdout)["findings"]} >= {"D52"}, done.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--ledger", "no.duckdb"), 2, "no ledger here"),
        ((), 2, "no ledger here"),
        (("--ledger", "ledger.duckdb", "--since", "20m"), 2, "30 minutes"),
        (("--ledger", "ledger.duckdb", "--since", "soon"), 2, "no duration"),
        (("--ledger", "ledger.duckdb", "--window", "2020-01-01,2020-01-02"), 3, "no meter watched"),
        (("--prometheus", "http://127.0.0.1:1"), 4, "cannot reach"),
        (("--prometheus", "nonsense"), 2, "not the address"),
        (("--snapshot", "platform.yaml", "--context", "x"), 2, "not both"),
    ],
)
def test_what_cannot_be_used_is_said(folder: Path, args: tuple[str, ...], code: int, said: str) -> None:
    done = run(folder, *args)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_prometheus_that_names_no_pod_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "KNOWN", {})
    with answers.serving() as (url, _):
        done = run(folder, "--prometheus", url, "--window", scene.WINDOW)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Nothing could be judged."
    assert "no series of dcgm-exporter names a pod" in done.stderr
