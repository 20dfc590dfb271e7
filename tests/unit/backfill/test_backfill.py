"""A past that is known, told to a real Prometheus, read back, and billed: the bill is the past's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest

from plimsoll.backfill.run import Job, run
from plimsoll.backfill.state import Summary
from plimsoll.cost.bill import Bill, Query, bill
from plimsoll.cost.ledger import Keeper, Ledger
from plimsoll.cost.sample import Record, key
from plimsoll.cost.schema import TABLES
from plimsoll.cost.store import Store, open_store
from plimsoll.errors import IncompleteError, InputError
from plimsoll.kube.prometheus import Prometheus
from tests.unit.backfill.past import HOUR, MINUTE, SCRAPE, SECOND, START, Past, generate
from tests.unit.cost.truth import TARIFF, TrueNode, TruePod, Truth
from tests.unit.kube.promserver import serving


def fill(ledger: Ledger, url: str, hours: int, **more: Any) -> Summary:
    with Prometheus(url) as server:
        return run(server, ledger, Job(**({"began": START, "ended": START + hours * HOUR} | more)))


def empty() -> Ledger:
    return Ledger(open_store(":memory:"))


def rows(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table.name: sorted(ledger.store.rows(f"SELECT * FROM {table.name}"))
        for table in TABLES
        if table.name != "cursors"
    }


def ask(ledger: Ledger, began: int, ended: int) -> Bill:
    return bill(ledger, TARIFF, Query(by="job", began=began, ended=ended, split="even"))


def agrees(ledger: Ledger, past: Past, hours: int, *, began: int = START, within: int = 1, but: float = 2) -> None:
    """within: micro-units that a pod may be off by. but: that unused time may be off by."""
    window = began, START + hours * HOUR
    exact, answer = past.truth.exact(*window, weighted=False), ask(ledger, *window)
    lines = {line.id: line for line in answer.lines}
    assert abs(answer.total - sum(exact.values(), Fraction())) <= 1
    found = {pod.uid: lines[pod.uid].cost if pod.uid in lines else 0 for pod in past.truth.pods}
    assert not {uid: (cost, float(exact[uid])) for uid, cost in found.items() if abs(cost - exact[uid]) >= within}
    for unused in ("unallocated", "stranded", "absent"):
        assert abs(getattr(lines[""], unused) - exact[unused]) < but


def small(*pods: TruePod, gpus: int = 2, hours: int = 60, layout: tuple[str, ...] = (), pool: str = "odd") -> Past:
    """One node, made a day before; by default a pod for each of its GPUs, from the first hour to the last but one."""
    node = TrueNode("node", pool, gpus, START - 24 * HOUR, START + (hours + 1) * HOUR)
    node.cuts = {f"GPU-{place}": [(node.began, node.ended, layout)] for place in range(gpus)}
    every = list(pods) or [pod(f"long-{place}", 1, hours - 1, f"GPU-{place}") for place in range(gpus)]
    return Past(Truth([node], every, [], node.ended))


def pod(uid: str, began: float, ended: float, gpu: str, slot: str = "", name: str = "", node: str = "node") -> TruePod:
    """began, ended: hours."""
    first, last = (START + round(hours * 3600) * SECOND for hours in (began, ended))
    return TruePod(uid=uid, name=name or uid, job="", team="blue", node=node, began=first, ended=last,
                   slots=[(gpu, slot)])  # fmt: skip


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Six hours of whole GPUs, MIG instances and time-sliced GPUs."""
    past = generate(Random(1), hours=6, per_device=4)
    with serving(tmp_path_factory.mktemp("six"), past.samples(START, START + 6 * HOUR)) as url:
        yield past, url


def test_every_pod_pays_exactly_its_part(six: tuple[Past, str]) -> None:
    past, url = six
    ledger = empty()
    summary = fill(ledger, url, 6)
    agrees(ledger, past, 6)
    assert summary.gaps == 0
    assert [each.partition(":")[0] for each in summary.missing if "tokens" not in each] == [
        "kube_pod_container_state_started", "kube_pod_labels", "DCGM_FI_PROF_SM_ACTIVE or DCGM_FI_PROF_SM_UTIL_RATIO",
    ]  # fmt: skip


def test_names_since_4_9_and_honored_labels(tmp_path: Path) -> None:
    past = generate(Random(2), hours=4)
    past.form, past.new = "honored", True
    ledger = empty()
    with serving(tmp_path, past.samples(START, START + 4 * HOUR)) as url:
        fill(ledger, url, 4)
    agrees(ledger, past, 4)


def test_twice_is_once_and_a_ledger_may_know_more(six: tuple[Past, str]) -> None:
    _, url = six
    ledger = empty()
    fill(ledger, url, 6)
    before, lines = rows(ledger), ask(ledger, START, START + 6 * HOUR).lines
    assert fill(ledger, url, 6).resumed == START + 6 * HOUR
    assert rows(ledger) == before
    fill(ledger, url, 6, again=True)
    for name, found in rows(ledger).items():
        assert set(found) == set(before[name])  # usage comes twice into the inbox, and counts once
    assert ask(ledger, START, START + 6 * HOUR).lines == lines
    ledger.seal(START + 6 * HOUR)
    assert ask(ledger, START, START + 6 * HOUR).lines == lines


@pytest.mark.parametrize("until", [HOUR + 11 * SECOND, 3 * HOUR + 5 * MINUTE])
def test_a_later_run_goes_on_and_knows_what_the_earlier_could_not(six: tuple[Past, str], until: int) -> None:
    past, url = six
    ledger = empty()
    fill(ledger, url, 6, ended=START + until)
    assert fill(ledger, url, 6).resumed == START + until
    agrees(ledger, past, 6)


def test_exporters_that_were_just_installed(tmp_path: Path) -> None:
    began, ended = START + 71 * HOUR + 10 * MINUTE, START + 71 * HOUR + 50 * MINUTE  # between two full hours
    past = small(pod("late", 71.2, 71.7, "GPU-1"), hours=72)
    ledger = empty()
    with serving(tmp_path, past.samples(began, ended)) as url:
        summary = fill(ledger, url, 72, ended=ended)
    assert (summary.counts["holds named"], summary.counts["holds by elimination"]) == (1, 0)
    assert sorted(ledger.store.rows("SELECT uuid FROM gpus")) == [("GPU-0",), ("GPU-1",)]


class Killed(Exception):  # noqa: N818
    """Stands for SIGKILL."""


class Dying(Ledger):
    """Writes some days, and dies within the next."""

    def __init__(self, store: Store, days: int) -> None:
        super().__init__(store)
        self.days = days

    def write(
        self, records: Iterable[Record], meter: str = "", cursors: Mapping[str, str] | None = None,
        keeper: Keeper | None = None,
    ) -> None:  # fmt: skip
        if not self.days:
            raise Killed
        self.days -= 1
        super().write(records, meter, cursors, keeper)


def test_stopped_anywhere_and_begun_again_it_is_the_same(tmp_path: Path) -> None:
    """Days are written whole or not at all."""
    hours, began = 52, START + 20 * HOUR  # three days of UTC
    past = small(hours=hours)
    with serving(tmp_path, past.samples(began, START + hours * HOUR)) as url:
        straight = empty()
        fill(straight, url, hours, began=began)
        agrees(straight, past, hours, began=began)
        for days in range(3):
            stopped = empty()
            with pytest.raises(Killed):
                fill(Dying(stopped.store, days), url, hours, began=began)
            assert len(stopped.store.rows("SELECT * FROM watches")) == days
            summary = fill(stopped, url, hours, began=began)
            assert summary.resumed == (0, START + 24 * HOUR, START + 48 * HOUR)[days]
            assert {name: set(found) for name, found in rows(stopped).items()} == {
                name: set(found) for name, found in rows(straight).items()
            }


def test_a_server_with_small_limits_gives_the_same(six: tuple[Past, str], tmp_path: Path) -> None:
    past, url = six
    whole, parts = empty(), empty()
    fill(whole, url, 6)
    with serving(tmp_path, past.samples(START, START + 6 * HOUR), "--query.max-samples=40000") as limited:
        fill(parts, limited, 6)
    assert rows(parts) == rows(whole)


PRICE = 7_777_777  # micro-units an hour of the node of `small`
ROUND = SCRAPE + 8 * SECOND  # how late an end may be noticed


def test_a_pod_that_was_deleted_ends_with_the_first_scrape_without_it(tmp_path: Path) -> None:
    past = small(pod("served", 0.5, 2.2001, "GPU-0"), pod("next", 2.5, 3, "GPU-0"), hours=4)
    past.deleted = {"served"}
    ledger = empty()
    with serving(tmp_path, past.samples(START, START + 4 * HOUR)) as url:
        fill(ledger, url, 4)
    late = Fraction(PRICE * ROUND, 2 * HOUR)
    agrees(ledger, past, 4, within=int(late), but=float(late))
    lines = {line.id: line.cost for line in ask(ledger, START, START + 4 * HOUR).lines}
    assert (
        lines["served"] >= Fraction(PRICE, 2) * Fraction(past.truth.pods[0].ended - past.truth.pods[0].began, HOUR) - 1
    )
    assert ledger.store.rows("SELECT exact, why FROM marks WHERE kind = 'pod' ORDER BY exact") == [
        (0, "Deleted"),
        (1, ""),
    ]


def test_what_nobody_scraped_is_not_seen_and_not_idle(tmp_path: Path) -> None:
    past = small(pod("works", 0.5, 5.5, "GPU-0"), pod("ends", 0.5, 2.5, "GPU-1"), hours=6)
    past.silent = ((START + 2 * HOUR, START + 4 * HOUR),)
    past.kept = 3 * HOUR
    past.busy = {"works": 0.5, "ends": 0.0}
    ledger = empty()
    with serving(tmp_path, past.samples(START, START + 6 * HOUR)) as url:
        summary = fill(ledger, url, 6)
    agrees(ledger, past, 6)  # it ended while nobody looked, and the cluster said when
    assert abs(summary.gaps - 2 * HOUR) < MINUTE
    used = ledger.store.rows("SELECT SUM(seen), SUM(idle), SUM(busy) FROM usage_inbox WHERE pod = ?", (key("works"),))[
        0
    ]
    assert abs(used[0] - 3 * HOUR) < 3 * MINUTE
    assert (used[1], used[2]) == (0, used[0] // 2)
    hidden = ledger.store.rows(
        "SELECT COUNT(*) FROM usage_inbox WHERE seen > 0 AND began >= ? AND ended <= ?",
        (START + 2 * HOUR + 2 * MINUTE, START + 4 * HOUR),
    )
    assert hidden == [(0,)]


def test_holders_that_no_exporter_names_are_worked_out(tmp_path: Path) -> None:
    past = generate(Random(4), hours=4, nodes=2)  # no shares: of a shared GPU it matters which one
    past.form = "none"
    ledger = empty()
    with serving(tmp_path, past.samples(START, START + 4 * HOUR)) as url:
        summary = fill(ledger, url, 4)
    agrees(ledger, past, 4)
    assert summary.counts["holds named"] == 0
    assert any("worked out" in each for each in summary.notes)


def test_without_an_exporter_pods_are_billed_and_unmeasured(tmp_path: Path) -> None:
    past = small(pod("a", 0.5, 2, "GPU-0"), pod("b", 1, 3, "GPU-1"), pod("c", 2.5, 3.5, "GPU-0"), hours=4)
    told = (each for each in past.samples(START, START + 4 * HOUR) if each[0].startswith("kube"))
    ledger = empty()
    with serving(tmp_path, told) as url:
        summary = fill(ledger, url, 4)
    lines = {line.id: line for line in ask(ledger, START, START + 4 * HOUR).lines}
    for name, hours in (("a", Fraction(3, 2)), ("b", Fraction(2)), ("c", Fraction(1))):
        assert abs(lines[name].cost - Fraction(PRICE, 2) * hours) < 1
        assert lines[name].unmeasured == lines[name].cost
    assert len(ledger.store.rows("SELECT DISTINCT uuid FROM gpus")) == 2
    assert any("all GPU time is unmeasured" in each for each in summary.missing)


def test_instances_that_are_given_out_as_gpus(tmp_path: Path) -> None:
    slots = [(gpu, f"{START - 24 * HOUR}-{place}") for gpu in ("GPU-0", "GPU-1") for place in range(7)]
    pods = [pod(f"p-{place}", 0.5 + place / 10, 2 + place / 10, *slot) for place, slot in enumerate(slots[:9])]
    past = small(*pods, hours=4, layout=("1g.10gb",) * 7)
    past.single = True
    ledger = empty()
    with serving(tmp_path, past.samples(START, START + 4 * HOUR)) as url:
        fill(ledger, url, 4)
    agrees(ledger, past, 4)


def test_use_and_energy_are_as_they_were(tmp_path: Path) -> None:
    past = small(pod("busy", 0.5, 2.5, "GPU-0"), pod("idle", 1, 2, "GPU-1"), hours=3)
    past.busy = {"busy": 0.9, "idle": 0.0}
    ledger = empty()
    with serving(tmp_path, past.samples(START, START + 3 * HOUR)) as url:
        fill(ledger, url, 3, step=60_000)
    lines = {line.id: line for line in ask(ledger, START, START + 3 * HOUR).lines}
    busy, idle = lines["busy"], lines["idle"]
    assert abs(busy.seen_ms - 2 * HOUR) <= 2 * MINUTE
    assert busy.busy_ms == pytest.approx(0.9 * busy.seen_ms, rel=0.01)
    assert busy.idle < busy.cost / 50
    assert idle.idle > idle.cost * 0.95
    assert idle.busy_ms == 0
    # 300 W, whoever holds the GPU.
    assert busy.energy == pytest.approx(300 * 2 * HOUR, rel=0.03)
    assert idle.energy == pytest.approx(300 * HOUR, rel=0.03)


def test_names_of_pods_and_nodes_that_come_back(tmp_path: Path) -> None:
    past = small(
        pod("first", 0.5, 1, "GPU-0", name="web-0"), pod("second", 1.1, 2, "GPU-1", name="web-0"),
        pod("third", 2.25, 3, "GPU-0", name="web-0", node="again"), hours=4,
    )  # fmt: skip
    old = past.truth.nodes[0]
    new = TrueNode("again", "odd", 2, START + 2 * HOUR + 10 * MINUTE, START + 5 * HOUR)
    old.ended = START + 2 * HOUR
    for node in (old, new):
        node.cuts = {f"GPU-{place}": [(node.began, node.ended, ())] for place in range(2)}
    past.truth.nodes.append(new)
    told = [
        (name, {label: "node" if value == "again" else value for label, value in labels.items()}, at, value_)
        for name, labels, at, value_ in past.samples(START, START + 4 * HOUR)
    ]
    ledger = empty()
    with serving(tmp_path, told) as url:
        fill(ledger, url, 4)
    assert len(ledger.store.rows("SELECT id FROM nodes")) == 2
    lines = {line.id: line.cost for line in ask(ledger, START, START + 4 * HOUR).lines}
    exact = past.truth.exact(START, START + 4 * HOUR, weighted=False)
    for name in ("first", "second", "third"):
        assert abs(lines[name] - exact[name]) < 1, name
    # The node's own end is noticed by its scrape.
    assert abs(sum(lines.values()) - sum(exact.values(), Fraction())) <= Fraction(PRICE * ROUND, HOUR)


def test_nodes_go_by_the_uid_of_the_ledger_or_of_the_cluster(tmp_path: Path) -> None:
    past = small(hours=2)
    node = past.truth.nodes[0]
    known = {"metadata": {"name": "node", "uid": "real-uid", "creationTimestamp": "2025-11-30T00:00:00Z"}}
    assert node.began == START - 24 * HOUR
    with serving(tmp_path, past.samples(START, START + 2 * HOUR)) as url:
        told, alone = empty(), empty()
        assert not fill(told, url, 2, nodes=[known]).counts["nodes without a uid"]
        for row in told.store.rows("SELECT uid, began FROM nodes"):
            assert row == ("real-uid", node.began)
        fill(told, url, 2)
        assert told.store.rows("SELECT uid FROM nodes") == [("real-uid",)]
        summary = fill(alone, url, 2)
        assert summary.counts["nodes without a uid"] == 1
        assert any("billed twice" in each for each in summary.notes)


def test_several_clusters_and_none(tmp_path: Path) -> None:
    past = small(hours=2)
    told = [
        (name, {**labels, "cluster": cluster}, at + shift, value)
        for name, labels, at, value in past.samples(START, START + 2 * HOUR)
        for shift, cluster in enumerate(("east", 'we"st'))
    ]
    with serving(tmp_path, told) as url:
        with pytest.raises(InputError, match="2 clusters") as caught:
            fill(empty(), url, 2)
        assert "--cluster-label cluster=" in caught.value.hint
        ledger = empty()
        fill(ledger, url, 2, cluster='cluster=we"st')
        assert len(ledger.store.rows("SELECT id FROM nodes")) == 1
        with pytest.raises(IncompleteError, match="kube_node_info"):
            fill(empty(), url, 2, cluster="cluster=north")
        with pytest.raises(IncompleteError, match="kube_node_info"):
            fill(empty(), url, 2, began=START - 90 * HOUR, ended=START - 80 * HOUR)
        with pytest.raises(InputError, match="LABEL=VALUE"):
            fill(empty(), url, 2, cluster="north")
