"""Every cross-check: the lines marked `#!` are the problems of a declaration, and there are no others."""

from __future__ import annotations

import re

import pytest

from plimsoll.spec.load import load
from plimsoll.spec.problems import SpecError

POOLS = """
pools:
  - {name: whole, gpu: H100-SXM5-80GB, gpusPerNode: 8, nodes: {max: 4}}
  - {name: cut, gpu: A100-SXM4-80GB, gpusPerNode: 8, nodes: {max: 2}, partition: {mig: {layout: {1g.10gb: 7}}}}
  - name: mix
    gpu: A100-SXM4-80GB
    gpusPerNode: 8
    nodes: {min: 1, max: 1}
    partition: {mig: {layout: {1g.10gb: 2, 2g.20gb: 1, 3g.40gb: 1}}}
  - {name: turns, gpu: L4, gpusPerNode: 1, nodes: {max: 4}, partition: {timeSlicing: {replicas: 4}}}
  - {name: parts, gpu: L4, gpusPerNode: 1, nodes: {max: 4}, partition: {mps: {replicas: 4}}}
  - {name: fleeting, gpu: H100-SXM5-80GB, gpusPerNode: 8, nodes: {max: 4}, capacity: spot}
"""
TEAM = "teams: [{name: a}]\n"
ONE = "pools: [{name: p, gpu: L4, gpusPerNode: 1, nodes: {max: 4}}]\n"

CASES = {
    "a pool declared twice": """
pools:
  - {name: p, gpu: L4, gpusPerNode: 1, nodes: {max: 1}, nodeSelector: {pool: one}}
  - {name: p, gpu: L4, gpusPerNode: 1, nodes: {max: 1}, nodeSelector: {pool: two}} #! must be a name that no other
"""
    + TEAM,
    "a GPU that is none": """
pools:
  - name: p
    gpu: H100-SXM   #! found "H100-SXM", must be a GPU of the catalogue; did you mean H100-SXM5-80GB
    gpusPerNode: 8
    nodes: {max: 1}
"""
    + TEAM,
    "a machine with another GPU": """
pools:
  - name: p
    gpu: A100-SXM4-80GB   #! found "A100-SXM4-80GB", but a p5.48xlarge has H100-SXM5-80GB
    gpusPerNode: 8
    nodes: {max: 1}
    instanceType: p5.48xlarge
  - name: q
    gpu: H100-SXM5-80GB
    gpusPerNode: 4        #! found 4, but a p5.48xlarge has 8
    nodes: {max: 1}
    instanceType: p5.48xlarge
"""
    + TEAM,
    "more nodes than the most": """
pools:
  - name: p
    gpu: L4
    gpusPerNode: 1
    nodes:
      min: 5              #! found 5, must be at most max, which is 4
      max: 4
"""
    + TEAM,
    "one node in two pools": """
pools:
  - {name: p, gpu: L4, gpusPerNode: 1, nodes: {max: 1}, nodeSelector: {gpu: l4}}
  - name: q
    gpu: L4
    gpusPerNode: 1
    nodes: {max: 1}
    nodeSelector: {gpu: l4, team: q}    #! must not also select nodes of pool p
  - {name: r, gpu: L4, gpusPerNode: 1, nodes: {max: 1}, nodeSelector: {gpu: other}}
"""
    + TEAM,
    "hostname is the narrowest level": """
pools:
  - name: p
    gpu: L4
    gpusPerNode: 1
    nodes: {max: 1}
    topology:
      levels: [kubernetes.io/hostname, topology.kubernetes.io/zone]   #! must have kubernetes.io/hostname last
  - name: q
    gpu: L4
    gpusPerNode: 1
    nodes: {max: 1}
    topology: {levels: [a, a]}                                        #! must name each level once
"""
    + TEAM,
    "MIG on a GPU without": """
pools:
  - name: p
    gpu: L4
    gpusPerNode: 1
    nodes: {max: 1}
    partition:
      mig: {layout: auto}    #! pools[0].partition.mig: must be left out: L4 has no MIG; share it
"""
    + TEAM,
    "layouts that do not fit": """
pools:
  - name: p
    gpu: A100-SXM4-80GB
    gpusPerNode: 8
    nodes: {max: 1}
    partition:
      mig:
        layout: {3g.40gb: 2, 1g.10gb: 1}   #! does not fit on one A100-SXM4-80GB: .*; 2×3g.40gb would fit
  - name: q
    gpu: A100-SXM4-80GB
    gpusPerNode: 8
    nodes: {max: 1}
    partition: {mig: {layout: {1g.5gb: 7}}}   #! A100-SXM4-80GB has no MIG profile 1g.5gb; it has 1g
  - name: r
    gpu: A100-SXM4-80GB
    gpusPerNode: 8
    nodes: {max: 1}
    partition: {mig: {layout: {}}}   #! must hold at least one instance, or be auto
"""
    + TEAM,
    "one resource for several profiles": """
pools:
  - name: p
    gpu: A100-SXM4-80GB
    gpusPerNode: 8
    nodes: {max: 1}
    partition:
      mig:
        strategy: single   #! found "single", must be mixed
        layout: {3g.40gb: 1, 1g.10gb: 1}
"""
    + TEAM,
    "MPS with something else": """
pools:
  - name: p
    gpu: A100-SXM4-80GB
    gpusPerNode: 8
    nodes: {max: 1}
    partition:
      mig: {layout: {1g.10gb: 7}}
      mps: {replicas: 4}    #! must not be combined with mig
  - name: q
    gpu: L4
    gpusPerNode: 8
    nodes: {max: 1}
    partition:
      timeSlicing: {replicas: 4}
      mps: {replicas: 4}    #! must not be combined with timeSlicing
  - name: r
    gpu: V100-SXM2-16GB
    gpusPerNode: 8
    nodes: {max: 1}
    partition:
      mps: {replicas: 17}    #! found 17, must be at most 16 on V100-SXM2-16GB
"""
    + TEAM,
    "a team declared twice": ONE
    + """
teams:
  - {name: a, namespaces: [x]}
  - {name: a, namespaces: [y]}   #! teams[1].name: found "a", must be a name that no other of teams has
""",
    "a namespace in two teams": ONE
    + """
teams:
  - name: a
    namespaces: [x, y]
  - name: b
    namespaces:
      - z
      - x        #! found namespace "x", but team a has it
  - name: y      #! found namespace "y", but team a has it
  - name: c
    namespaces: [w,
                 w]   #! but this team lists it twice
""",
    "a pool nobody declared": POOLS
    + """
teams:
  - name: a
    quota:
      whle: 8      #! teams[0].quota.whle: found "whle", must be the name of a pool; did you mean whole?
    borrow:
      x: 1         #! must be the name of a pool; there are whole, cut, mix, turns, parts and fleeting
    lend:
      y: 1         #! must be the name of a pool
""",
    "sharing a tenant does not tolerate": POOLS
    + """
teams:
  - name: a
    quota: {turns: 4, mix: {1g.10gb: 2}, parts: 2}
  - name: b
    quota: {turns: 4}
    isolation: exclusive     #! found "exclusive", but on pool turns it shares GPUs with a and d by time-slicing
  - name: c
    quota: {mix: {1g.10gb: 2}}
    isolation: exclusive     #! but on pool mix it shares GPUs with a by MIG
  - name: d
    quota: {turns: 1}
    isolation: partitioned   #! but on pool turns it shares GPUs with a and b by time-slicing; give it a pool
  - name: e
    borrow: {parts: 1}
    isolation: partitioned   #! but on pool parts it shares GPUs with a by MPS
""",
    "units the pool does not advertise": POOLS
    + """
teams:
  - name: a
    quota:
      whole: {shared: 8}      #! teams[0].quota.whole.shared: found the unit "shared", but pool whole advertises gpu
      mix: 4                  #! found 4, must say of what: pool mix has 1g.10gb, 2g.20gb and 3g.40gb
      cut: {2g.20gb: 1}       #! teams[0].quota.cut[2g.20gb]: found the unit "2g.20gb", but pool cut advertises 1g.10gb
      turns: {gpu: 1}         #! but pool turns advertises shared
""",
    "more promised than there is": POOLS
    + """
teams:
  - name: a
    quota: {whole: 16, turns: 16}
  - name: b
    quota:
      whole: 24       #! 24, but pool whole has at most 32 nvidia.com/gpu (4 nodes × 8), and 16 to a and 24 to b make 40
      mix:
        3g.40gb: 9      #! found 9, but pool mix has at most 8 nvidia.com/mig-3g.40gb (1 node × 8)
  - name: c
    quota:
      turns: 1          #! at most 16 nvidia.com/gpu.shared (4 nodes × 4)
""",
    "what is set aside counts": POOLS
    + """
teams:
  - name: a
    quota:
      whole: 32         #! and 8 to service s and 32 to a make 40
  - name: b
services:
  - {name: s, team: b, model: m, pool: whole, gpusPerReplica: 2, replicas: {max: 4}, queued: false}
  - name: t
    team: b
    model: m
    pool: turns
    queued: false
    replicas:
      max: 17           #! is more than pool turns has: 17 of 16 nvidia.com/gpu.shared
""",
    "an open layout has an end too": """
pools:
  - {name: p, gpu: A100-SXM4-80GB, gpusPerNode: 8, nodes: {max: 1}, partition: {mig: {layout: auto}}}
teams:
  - name: a
    quota: {p: {3g.40gb: 16}}
  - name: b
    quota:
      p:    #! more than p can ever be cut into: with what stands before it 65 memory slices, and the pool has 64
        1g.10gb: 1
        5g.10gb: 1       #! found the unit "5g.10gb", but pool p advertises
""",
    "an open layout is the same for every GPU": """
pools:
  - {name: p, gpu: A100-SXM4-80GB, gpusPerNode: 8, nodes: {max: 1}, partition: {mig: {layout: auto}}}
  - name: q
    gpu: A100-SXM4-80GB
    gpusPerNode: 8
    nodes: {max: 1}
    partition: {mig: {layout: auto, strategy: single}}
teams:
  - name: a
    quota: {p: {7g.80gb: 4}, q: {1g.10gb: 2}}
  - name: b
    quota:
      p: {1g.10gb: 4}  #! is more than any one layout gives pool p: with what stands before it each GPU must hold 1×7g
      q: {2g.20gb: 2}  #! is more than any one layout gives pool q: 1g.10gb and 2g.20gb are promised, and strategy
""",
    "loans nobody can give": POOLS
    + """
teams:
  - name: a
    quota: {whole: 8, mix: {1g.10gb: 4}}
    lend:
      whole: 9               #! found 9, must be at most the team's own quota there, which is 8
    borrow:
      whole: 9               #! found 9, must be at most 8, which is what all other teams lend of it
  - name: b
    quota: {whole: 16}
    lend: {whole: 8}
    borrow:
      mix: {1g.10gb: 5}      #! found 5, must be at most 4
""",
    "a service nobody can place": POOLS
    + """
teams: [{name: a, quota: {whole: 8}}]
services:
  - name: s
    team: b              #! found "b", must be the name of a team; there is a
    model: m
    pool: hole           #! found "hole", must be the name of a pool; did you mean whole?
  - name: t
    team: a
    model: m
    pool: whole
    namespace: other     #! found "other", must be a namespace of team a; there is a
  - name: t              #! must be a name that no other of services has
    team: a
    model: m
    pool: whole
""",
    "replicas": POOLS
    + """
teams: [{name: a, quota: {whole: 8}}]
services:
  - name: s
    team: a
    model: m
    pool: whole
    replicas:
      min: 3             #! found 3, must be at most max, which is 2
      max: 2
    scaleOn: schedule
    schedule:
      - start: 0 8 * * *
        end: 0 9 * * *
        replicas: 3      #! found 3, must be at most replicas.max, which is 2
""",
    "what a service scales on": POOLS
    + """
teams: [{name: a, quota: {whole: 8}}]
services:
  - name: s
    team: a
    model: m
    pool: whole
    scaleOn: schedule    #! found "schedule", but there is no schedule
  - name: t
    team: a
    model: m
    pool: whole
    schedule:            #! is not used while scaleOn is slo
      - {start: 0 8 * * *, end: 0 9 * * *, replicas: 1}
  - name: u
    team: a
    model: m
    pool: whole
    slo: {ttft: {}, itl: {}}   #! must bound at least one latency
""",
    "a service on spot": POOLS
    + """
teams: [{name: a, quota: {fleeting: 8}}]
services:
  - name: s
    team: a
    model: m
    pool: fleeting       #! found "fleeting", must not be a spot pool: spot.never keeps serving off
""",
    "devices of a replica": POOLS
    + """
teams: [{name: a, quota: {whole: 32, turns: 8, mix: {1g.10gb: 8}, cut: 14}}]
services:
  - name: one
    team: a
    model: m
    pool: whole
    gpusPerReplica: 16   #! found 16, but 1 node of pool whole has 8 nvidia.com/gpu; a replica may span several
  - name: two
    team: a
    model: m
    pool: whole
    gpusPerReplica: 9    #! found 9, must be a multiple of engine.nodes, which is 2
    engine: {nodes: 2}
  - name: three
    team: a
    model: m
    pool: whole
    engine:
      nodes: 5           #! found 5, but pool whole has at most 4 nodes
  - name: four
    team: a
    model: m
    pool: turns
    gpusPerReplica: 2    #! must be 1 on pool turns: two shares
  - name: five           #! must have a unit: pool mix advertises 1g.10gb, 2g.20gb and 3g.40gb
    team: a
    model: m
    pool: mix
  - name: six
    team: a
    model: m
    pool: mix
    unit: 7g.80gb        #! found "7g.80gb", but pool mix advertises
  - name: seven
    team: a
    model: m
    pool: cut
    gpusPerReplica: 2    #! must be 1 on pool cut: one process uses one MIG instance
""",
    "ranks are devices": POOLS
    + """
teams: [{name: a, quota: {whole: 32}}]
services:
  - name: s
    team: a
    model: m
    pool: whole
    engine: {args: {tensor-parallel-size: 4, pipeline-parallel-size: 2}}
    gpusPerReplica: 4    #! found 4, but the engine's arguments ask for 8
  - name: t
    team: a
    model: m
    pool: whole
    engine: {args: {tensor-parallel-size: 8}, nodes: 2}
    gpusPerReplica: 8
""",
    "a service its team cannot feed": POOLS
    + """
teams:
  - {name: a, quota: {whole: 8}}
  - {name: b, quota: {whole: 4}, borrow: {whole: 4}}
services:
  - name: s
    team: a
    model: m
    pool: turns           #! found "turns", but team a has no quota there; give it some, or
  - name: t
    team: b
    model: m
    pool: whole
    gpusPerReplica: 2
    replicas:
      min: 1
      max: 5              #! found 5, but 10 GPUs are more than team b may use on whole: quota 4, borrow 4
  - name: u
    team: b
    model: m
    pool: whole
    gpusPerReplica: 2
    replicas:
      min: 2              #! with it the services of team b on whole always hold 6, and its quota is 4
      max: 2
""",
    "spot pools and fallbacks": POOLS
    + """
teams: [{name: a}]
spot:
  pools:
    - whole              #! found "whole", must be a spot pool, and its capacity is on-demand
    - fleeting
    - fleeting           #! must be there once
    - nowhere            #! must be the name of a pool
  fallback:
    - fleeting           #! must not be one of the pools it is the fallback of: that is a loop
    - cut
""",
    "a fallback that may vanish": """
pools:
  - {name: p, gpu: L4, gpusPerNode: 1, nodes: {max: 4}, capacity: spot}
  - {name: q, gpu: L4, gpusPerNode: 1, nodes: {max: 4}, capacity: spot}
teams: [{name: a}]
spot:
  pools: [p]
  fallback: [q]     #! must not be a spot pool: it may vanish too
""",
    "what stays off spot": POOLS
    + """
teams:
  - name: a
    quota:
      fleeting: 8     #! must be left out: spot.never keeps team a off spot
spot:
  never:
    - a
    - servin          #! found "servin", must be serving, the name of a team or a priority; did you mean serving?
    - batch
""",
    "a freeze that ends before it begins": ONE
    + TEAM
    + """
operator:
  upgrades:
    freeze:
      - from: 2027-01-04     #! found 2027-01-04, must not be after until, which is 2026-12-20
        until: 2026-12-20
      - {from: 2026-12-20, until: 2026-12-20}
""",
    "two currencies": """
pools:
  - name: p
    gpu: L4
    gpusPerNode: 1
    nodes: {max: 4}
    price: {perNodeHour: 1, source: s, asOf: 2026-01-01,
            currency: EUR}     #! found "EUR", must be USD, the currency of observability.costs
"""
    + TEAM,
    "meters on every node that share a file": ONE
    + TEAM
    + """
observability:
  meter: {mode: node, image: "registry.example.com/plimsoll:1"}   #! observability.meter.ledger.postgresql: is missing
""",
    "meters in a mode nobody knows": ONE
    + TEAM
    + """
observability:
  meter:
    mode: nodes   #! found "nodes", must be one of cluster, node
    image: "a b"   #! found "a b", must be an image
    ledger: {postgresql: {secretName: Ledger}}   #! found "Ledger", must be a name
""",
    "a price of nothing": """
pools:
  - name: p
    gpu: L4
    gpusPerNode: 1
    nodes: {max: 4}
    price: {source: s, asOf: 2026-01-01}   #! must have perNodeHour, or owned where the nodes are your own
"""
    + TEAM,
    "two prices": """
pools:
  - name: p
    gpu: L4
    gpusPerNode: 1
    nodes: {max: 4}
    price:
      perNodeHour: 1
      source: s
      asOf: 2026-01-01
      owned: {capex: 1, years: 1, watts: 1, pue: 1, perKwh: 1}   #! must be left out where there is perNodeHour
"""
    + TEAM,
    "a price that cannot be read is a price": """
pools:
  - name: p
    gpu: L4
    gpusPerNode: 1
    nodes: {max: 4}
    price: {perNodeHour: much, source: s, asOf: 2026-01-01}   #! must be an amount of money
"""
    + TEAM,
    "signatures without what verifies them": ONE
    + TEAM
    + """
security:
  images:
    signatures: {mode: keyless}   #! security.images.signatures.issuer: is missing
""",
    "signatures without a key": ONE
    + TEAM
    + """
security: {images: {signatures: {mode: key}}}   #! security.images.signatures.key: is missing
""",
}
MARK = re.compile(r"\s*#! (.*)")


@pytest.mark.parametrize("text", CASES.values(), ids=list(CASES))
def test_marked_lines_are_the_problems(text: str) -> None:
    marked = [(number, MARK.search(line)) for number, line in enumerate(text.splitlines(), 1)]
    wanted = [(number, match[1]) for number, match in marked if match]
    with pytest.raises(SpecError) as caught:
        load(text, "platform.yaml")
    found = [(problem.line, str(problem)) for problem in caught.value.problems]
    assert [line for line, _ in found] == [line for line, _ in wanted], str(caught.value)
    for (_, said), (_, fragment) in zip(found, wanted, strict=True):
        pattern = ".*".join(map(re.escape, fragment.split(".*")))
        assert re.search(pattern, said), f"{said!r} lacks {fragment!r}"


FINE = {
    "alone on a shared pool": POOLS
    + "teams: [{name: a, quota: {turns: 4}, isolation: exclusive}, {name: b, quota: {whole: 8}}]",
    "partitioned by MIG": POOLS
    + "teams: [{name: a, quota: {cut: 4}, isolation: partitioned}, {name: b, quota: {cut: 8}}]",
    "a service on spot where callers bear it": POOLS
    + """
teams: [{name: a, quota: {fleeting: 8}}]
spot: {never: []}
services: [{name: s, team: a, model: m, pool: fleeting}]
""",
    "a replica over two nodes": POOLS
    + """
teams: [{name: a, quota: {whole: 16}}]
services: [{name: s, team: a, model: m, pool: whole, gpusPerReplica: 16, engine: {nodes: 2}}]
""",
    "waivers that have ended or never seem to": ONE
    + TEAM
    + """
waivers:
  - {check: GPU001, target: "*", owner: dana, reason: r, until: 2001-01-01}
  - {check: GPU001, target: "*", owner: dana, reason: r, until: 2999-01-01}
""",
    "nothing promised": POOLS + TEAM,
    "an empty promise in any form": POOLS + "teams: [{name: a, quota: {mix: 0, whole: 0}}]",
    "the same resource from time-sliced MIG": """
pools:
  - name: p
    gpu: A100-SXM4-80GB
    gpusPerNode: 8
    nodes: {max: 1}
    partition: {mig: {layout: {1g.10gb: 7}}, timeSlicing: {replicas: 2}}
teams: [{name: a, quota: {p: 112}}]
""",
}


@pytest.mark.parametrize("text", FINE.values(), ids=list(FINE))
def test_what_is_fine(text: str) -> None:
    load(text, "platform.yaml")


def test_nothing_is_concluded_from_what_cannot_be_read() -> None:
    """The pool, the team and the section with problems of their own are not missed by the others.

    What is said of them follows from fields that can be read: b has no quota on the pool, and that is no spot pool.
    """
    text = """
pools:
  - {name: broken, gpu: L4, gpusPerNode: many, nodes: {max: 1}}
  - {name: p, gpu: L4, gpusPerNode: 1, nodes: {max: 1}}
teams:
  - {name: a, quota: {broken: 4, p: 1}, borrow: {p: 1}}
  - {name: b, quota: {p: 1}, isolation: none}
  - {name: c, quota: {p: 2}}
services:
  - {name: s, team: b, model: m, pool: broken}
spot: {pools: [broken], never: [a], checkpoint: {grace: 90}}
"""
    with pytest.raises(SpecError) as caught:
        load(text, "platform.yaml")
    assert [(problem.line, problem.path) for problem in caught.value.problems] == [
        (3, ("pools", 0, "gpusPerNode")),
        (7, ("teams", 1, "quota", "p")),
        (7, ("teams", 1, "isolation")),
        (8, ("teams", 2, "quota", "p")),
        (10, ("services", 0, "pool")),
        (11, ("spot", "pools", 0)),
        (11, ("spot", "checkpoint", "grace")),
    ]
