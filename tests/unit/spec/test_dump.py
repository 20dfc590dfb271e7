"""A Platform written as YAML reads back as the same."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.spec import values
from plimsoll.spec.document import read
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.load import from_mapping
from plimsoll.spec.model import Platform

NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn")), min_size=1, max_size=40).filter(str.strip)
DURATION = st.integers(0, 10**10).map(lambda ms: str(values.Duration(ms)))
DATE = st.dates(date(1990, 1, 1), date(2100, 1, 1)).map(date.isoformat)


def section(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A map in which each field may be there."""
    return st.fixed_dictionaries({}, optional=fields)


def named(prefix: str, entries: st.SearchStrategy[dict[str, Any]], least: int = 0) -> st.SearchStrategy[Any]:
    """A list of entries with names of their own."""
    lists = st.lists(entries, min_size=least, max_size=3)
    return lists.map(lambda all_: [{"name": f"{prefix}{n}", **each} for n, each in enumerate(all_)])


MONEY = st.integers(0, 10**9).map(lambda micro: values.Money(micro).write())
OWNED = st.fixed_dictionaries(
    {"capex": MONEY, "years": st.integers(1, 50), "watts": st.integers(1, 20_000), "pue": st.floats(1, 10),
     "perKwh": MONEY},
    optional={"upkeep": MONEY},
)  # fmt: skip
PRICE = st.one_of(
    st.fixed_dictionaries({"perNodeHour": MONEY, "source": TEXT, "asOf": DATE}),
    st.fixed_dictionaries({"owned": OWNED, "source": TEXT, "asOf": DATE}),
)
PARTITION = st.sampled_from(
    [
        {},
        {"timeSlicing": {"replicas": 4}},
        {"mig": {"layout": "auto"}},
        {"mig": {"layout": {"1g.10gb": 7}}},
        {"mps": {"replicas": 2, "renameByDefault": False}},
    ]
)
TAINT = st.sampled_from([{"key": "a"}, {"key": "b", "value": "true", "effect": "NoExecute"}])
LABELS = st.dictionaries(st.sampled_from(["pool", "a.example/b"]), st.sampled_from(["", "no", "1", "1e3", "0644", "v"]))
POOL = st.fixed_dictionaries(
    {"gpu": st.just("A100-SXM4-80GB"), "gpusPerNode": st.integers(1, 16), "nodes": st.just({"max": 9})},
    optional={
        "capacity": st.sampled_from(["on-demand", "reserved"]),
        "price": PRICE,
        "partition": PARTITION,
        "nodeSelector": LABELS,
        "taints": st.lists(TAINT, max_size=2),
        "topology": st.just({"levels": ["zone", "kubernetes.io/hostname"]}),
    },
)
TEAM = section(
    weight=st.floats(0.001, 1000), budget=st.just({"monthly": 12.5}), isolation=st.just("exclusive"),
    quota=st.just({"p0": 4, "p1": {"1g.10gb": 2}}),
)  # fmt: skip
UPGRADES = section(
    maxUnavailable=st.integers(1, 9) | st.just("25%"),
    drain=section(timeout=DURATION),
    freeze=st.lists(DATE.map(lambda day: {"from": day, "until": day}), max_size=2),
)
ARGUMENT = st.booleans() | st.integers(-(10**17), 10**17) | TEXT | st.floats(allow_nan=False, allow_infinity=False)
SERVICE = st.fixed_dictionaries(
    {"model": TEXT, "team": st.just("t0"), "pool": st.just("p0")},
    optional={
        "engine": st.fixed_dictionaries({"args": st.dictionaries(NAME, ARGUMENT, max_size=3)}),
        "cpu": st.integers(1, 64) | st.just("500m"),
        "memory": st.just("64Gi"),
        "peak": st.just("0.5/s"),
        "queued": st.booleans(),
        "slo": section(e2e=section(p99=DURATION), ttft=st.just({"p50": "1s"})),
    },
)
WAIVER = st.fixed_dictionaries(
    {"check": st.just("GPU075"), "target": st.just("*"), "owner": TEXT, "reason": TEXT, "until": DATE}
)
PLATFORM = st.fixed_dictionaries(
    {"pools": named("p", POOL, 1), "teams": named("t", TEAM, 1)},
    optional={
        "metadata": section(name=NAME),
        "cluster": section(provider=st.just("gke"), kubernetes=st.sampled_from(["1.36", "1.30"]), region=TEXT),
        "operator": section(version=st.just("v25.3.2"), upgrades=UPGRADES),
        "queueing": section(
            priorities=st.dictionaries(NAME, st.integers(-5, 10**9), max_size=3),
            waitForPodsReady=DURATION,
            fairSharing=st.booleans(),
        ),
        "spot": section(
            checkpoint=section(interval=DURATION | st.just("auto"), grace=DURATION, storage=st.just("s3://b"))
        ),
        "services": named("s", SERVICE),
        "waivers": st.lists(WAIVER, max_size=2),
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLATFORM)
def test_what_is_written_reads_back(data: dict[str, Any]) -> None:
    platform = msgspec.convert(data, Platform, dec_hook=values.decode)
    text = to_yaml(platform)
    again = msgspec.convert(read(text, "again").value, Platform, dec_hook=values.decode)
    assert again == platform
    assert to_yaml(again) == text


def test_defaults_are_left_out_and_the_order_is_that_of_the_file() -> None:
    platform = from_mapping(
        {
            "teams": [{"isolation": "shared", "name": "a", "quota": {"p": 1}}],
            "queueing": {"fairSharing": True, "waitForPodsReady": "600s"},
            "pools": [{"nodes": {"max": 1, "min": 0}, "gpusPerNode": 1, "gpu": "L4", "name": "p"}],
        }
    )
    assert to_yaml(platform) == (
        "apiVersion: plimsoll.dev/v1\n"
        "kind: Platform\n"
        "metadata: {name: platform}\n"
        "pools:\n"
        "- name: p\n"
        "  gpu: L4\n"
        "  gpusPerNode: 1\n"
        "  nodes: {max: 1}\n"
        "teams:\n"
        "- name: a\n"
        "  quota: {p: 1}\n"
    )
