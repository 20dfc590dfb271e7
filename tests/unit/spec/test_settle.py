"""MIG layouts a declaration leaves open."""

from __future__ import annotations

from plimsoll.spec import derive
from plimsoll.spec.load import load
from plimsoll.spec.settle import copies, demand, settled

OPEN = """
pools:
  - name: cut
    gpu: A100-SXM4-80GB
    gpusPerNode: 8
    nodes: {min: 1, max: 2}
    partition: {mig: {layout: auto}}
  - {name: whole, gpu: L4, gpusPerNode: 1, nodes: {max: 1}}
teams:
  - {name: a, quota: {cut: {1g.10gb: 16, 3g.40gb: 8}}}
  - {name: b, quota: {cut: {1g.10gb: 16}, whole: 1}}
services:
  - {name: s, team: b, model: m, pool: cut, unit: 2g.20gb, queued: false, replicas: {max: 16}}
"""


def test_what_is_promised_is_there_afterwards() -> None:
    platform = load(OPEN, "platform.yaml")
    pool = platform.pools[0]
    assert demand(platform, pool) == {"1g.10gb": 32, "3g.40gb": 8, "2g.20gb": 16}
    assert copies(pool) == 16
    cut, whole = settled(platform).pools
    assert {each.unit: each.highest for each in derive.offers(cut)} == {"1g.10gb": 32, "2g.20gb": 16, "3g.40gb": 16}
    assert whole is platform.pools[1]


def test_shares_of_an_instance_count() -> None:
    shared = OPEN.replace("layout: auto}}", "layout: auto}, timeSlicing: {replicas: 2}}")
    platform = load(shared.replace("replicas: {max: 16}", "replicas: {max: 1}"), "platform.yaml")
    assert copies(platform.pools[0]) == 32
    offers = {each.unit: each.highest for each in derive.offers(settled(platform).pools[0])}
    assert all(offers[unit] >= count for unit, count in demand(platform, platform.pools[0]).items())


def test_what_is_settled_stays() -> None:
    platform = settled(load(OPEN, "platform.yaml"))
    assert settled(platform) is platform
