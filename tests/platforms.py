"""Random valid declarations: every section, every way of sharing, names from a short list."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from plimsoll.spec.load import from_mapping
from plimsoll.spec.model import Platform
from plimsoll.spec.problems import SpecError

Pool = tuple[dict[str, Any], tuple[str, ...]]  # and its units
TEAMS = ("research", "search", "risk", "x" * 50)
SPACES = tuple(f"{team}{suffix}" for team in TEAMS for suffix in ("", "-2"))
# Ways to cut a pool: GPU, partition, units.
CUTS: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("H100-SXM5-80GB", {}, ("gpu",)),
    ("L4", {"timeSlicing": {"replicas": 4}}, ("shared",)),
    ("L4", {"timeSlicing": {"replicas": 2, "renameByDefault": False}}, ("shared",)),
    ("A10", {"mps": {"replicas": 3}}, ("shared",)),
    ("A100-SXM4-80GB", {"mig": {"layout": {"1g.10gb": 4, "3g.40gb": 1}}}, ("1g.10gb", "3g.40gb")),
    ("A100-SXM4-80GB", {"mig": {"layout": {"1g.10gb": 7}, "strategy": "single"}}, ("1g.10gb",)),
    ("H100-SXM5-80GB", {"mig": {"layout": "auto"}}, ("1g.10gb", "3g.40gb")),
)  # fmt: skip
PRICES: tuple[dict[str, Any], ...] = (
    {"perNodeHour": 12.5},
    {"owned": {"capex": 280_000, "years": 5, "watts": 6500, "pue": 1.3, "perKwh": 0.14, "upkeep": 9000}},
)
MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "/models/own", "pvc://weights/llama", "acme/scorer")


@st.composite
def _pool(draw: st.DrawFn, at: int) -> Pool:
    gpu, partition, units = draw(st.sampled_from(CUTS))
    least = draw(st.integers(0, 2))
    pool: dict[str, Any] = {
        "name": f"pool-{at}",
        "gpu": gpu,
        "gpusPerNode": draw(st.sampled_from((1, 4, 8))),
        "nodes": {"min": least, "max": max(1, least + draw(st.integers(0, 3)))},
        "capacity": draw(st.sampled_from(("on-demand", "spot", "reserved"))),
        "partition": partition,
    }
    if draw(st.booleans()):
        pool["instanceType"] = draw(st.sampled_from(("p5.48xlarge", "g6.xlarge", "a3-highgpu-8g")))
    if draw(st.booleans()):
        pool["topology"] = {"levels": ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]}
    if draw(st.booleans()):
        pool["taints"] = [{"key": "nvidia.com/gpu"}, {"key": f"acme.example/pool-{at}", "value": "true"}]
    if draw(st.booleans()):
        pool["price"] = {**draw(st.sampled_from(PRICES)), "source": "list price", "asOf": "2026-11-01"}
    return pool, units


@st.composite
def _team(draw: st.DrawFn, name: str, pools: list[Pool]) -> dict[str, Any]:
    team: dict[str, Any] = {
        "name": name,
        "weight": draw(st.sampled_from((1, 2, 0.5))),
        "isolation": draw(st.sampled_from(("shared", "partitioned"))),
    }
    if draw(st.booleans()):
        team["namespaces"] = [name, f"{name}-2"]
    for field in ("quota", "borrow", "lend"):
        amounts = {}
        for pool, units in pools:
            if draw(st.booleans()):
                amounts[pool["name"]] = {unit: draw(st.integers(0, 2)) for unit in units}
        if amounts and (field != "lend" or team.get("quota")):
            team[field] = amounts
    return team


@st.composite
def _service(
    draw: st.DrawFn, at: int, teams: list[str], pools: list[tuple[dict[str, Any], tuple[str, ...]]]
) -> dict[str, Any]:
    pool, units = draw(st.sampled_from(pools))
    least = draw(st.integers(0, 2))
    service: dict[str, Any] = {
        "name": f"service-{at}",
        "team": draw(st.sampled_from(teams)),
        "model": draw(st.sampled_from(MODELS)),
        "pool": pool["name"],
        "replicas": {"min": least, "max": least + draw(st.integers(1, 2))},
        "scaleOn": draw(st.sampled_from(("slo", "queue", "kv-cache", "schedule"))),
        "queued": draw(st.booleans()),
        "engine": {"args": draw(st.sampled_from(({}, {"max-model-len": 8192, "enable-prefix-caching": True})))},
    }
    if len(units) > 1:
        service["unit"] = draw(st.sampled_from(units))
    if service["scaleOn"] == "schedule":
        service["schedule"] = [
            {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "replicas": 1, "timezone": "Europe/Berlin"}
        ]
    if units == ("gpu",) and draw(st.booleans()):
        service["engine"]["nodes"] = 2
        service["gpusPerReplica"] = 2 * pool["gpusPerNode"]
    if draw(st.booleans()):
        service["slo"] = {"ttft": {"p90": "2s", "p99": "5s"}, "e2e": {"p95": "30s"}}
    return service


@st.composite
def platforms(draw: st.DrawFn) -> Platform:
    """A declaration that loads; the names of its namespaces are among SPACES."""
    pools = [draw(_pool(at)) for at in range(draw(st.integers(1, 4)))]
    teams = draw(st.lists(st.sampled_from(TEAMS), min_size=1, max_size=3, unique=True))
    spot = [pool["name"] for pool, _ in pools if pool["capacity"] == "spot"]
    given: dict[str, Any] = {
        "cluster": {
            "provider": draw(st.sampled_from(("eks", "gke", "aks", "openshift", "generic"))),
            "region": "us-east-1",
            "kubernetes": draw(st.sampled_from(("1.34", "1.36"))),
        },
        "operator": {
            "version": draw(st.sampled_from(("v25.3.2", "v26.3.0", "v26.7.0"))),
            "driver": {"managedBy": draw(st.sampled_from(("operator", "host", "cloud")))},
        },
        "pools": [pool for pool, _ in pools],
        "teams": [draw(_team(name, pools)) for name in teams],
        "queueing": {
            "version": draw(st.sampled_from(("0.19.2", "0.16.0", "0.14.0"))),
            "fairSharing": draw(st.booleans()),
            "order": draw(st.sampled_from(("best-effort-fifo", "strict-fifo"))),
            "priorities": draw(st.sampled_from(({}, {"production": 1000, "dev": -10}))),
        },
        "spot": {
            "pools": spot if draw(st.booleans()) else [],
            "never": draw(st.sampled_from((["serving"], [], ["serving", teams[0]]))),
            "checkpoint": {"storage": draw(st.sampled_from(("", "s3://acme-checkpoints", "pvc://claim")))},
        },
        "services": [draw(_service(at, teams, pools)) for at in range(draw(st.integers(0, 3)))],
        "observability": {
            "prometheus": {"operator": draw(st.booleans())},
            "dashboards": draw(st.sampled_from(("grafana", "none"))),
        },
        "security": {
            "images": {
                "registries": draw(st.sampled_from(([], ["registry.acme.example"]))),
                "requireDigest": draw(st.booleans()),
            },
            "identity": draw(st.sampled_from(("cloud", "spiffe", "none"))),
            "podSecurity": draw(st.sampled_from(("restricted", "baseline", "privileged"))),
            "network": draw(st.sampled_from(("default-deny", "open"))),
        },
    }
    meter = draw(st.sampled_from((None, "cluster", "node")))
    if meter:
        shared = {"postgresql": {"secretName": "ledger", "key": draw(st.sampled_from(("address", "url")))}}
        own = {"storage": "50Gi", "storageClass": draw(st.sampled_from(("", "gp3")))}
        given["observability"]["meter"] = {
            "mode": meter,
            "image": "registry.acme.example/plimsoll@sha256:" + "0" * 64,
            "ledger": shared if meter == "node" else draw(st.sampled_from((shared, own, {}))),
        }
    try:
        return from_mapping(given)
    except SpecError:
        assume(False)
        raise
