"""Dashboards of single GPUs: each card, and how cards are shared."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.boards_common import NODE, POOL
from plimsoll.pillars.observability.pack.grafana import Board, Panel, Query, Row

_OF_NODE = 'node=~"$node"'
_LOAD = tuple(
    Panel(
        title=title,
        about=about,
        unit="percentunit",
        most=1,
        queries=(Query(f"plimsoll:{name}{{{_OF_NODE}}}", "{{node}} {{gpu}} {{GPU_I_ID}}"),),
    )
    for title, about, name in (
        ("Busy", "Time anything ran.", "gpu_busy:ratio"),
        ("Processors with work", "Below 0.5 is likely ineffective, 0.8 and more is well.", "gpu_sm_active:ratio"),
        ("Tensor cores", "Time matrix units worked.", "gpu_tensor_active:ratio"),
        ("Memory traffic", "Time the memory interface moved data.", "gpu_dram_active:ratio"),
        ("Memory used", "Of the card or instance.", "gpu_memory_used:ratio"),
    )
)
_CLOCK = Panel(
    title="Clock",
    about="Cards of one model under load run at one speed; the slow one holds up the rest.",
    unit="hertz",
    queries=(Query(f"plimsoll:gpu_sm_clock:hertz{{{_OF_NODE}}}", "{{node}} {{gpu}}"),),
)
CARDS = Board(
    uid="plimsoll-gpus",
    title="GPUs one by one",
    about="Each card and MIG instance of a node: load, memory, heat, clock, and what it reported.",
    variables=(POOL, NODE),
    rows=(
        Row(
            "State",
            (
                Panel(
                    title="Cards",
                    about="Busy, share of memory used, temperature, power and clock, now.",
                    kind="table",
                    width=24,
                    height=10,
                    queries=tuple(
                        Query(f"plimsoll:{name}{{{_OF_NODE}}}")
                        for name in (
                            "gpu_busy:ratio",
                            "gpu_memory_used:ratio",
                            "gpu_temperature:celsius",
                            "gpu_power:watts",
                        )
                    ),
                ),
                Panel(
                    title="Errors the driver reported",
                    about="The last Xid of each card. 13, 31, 43 and 45 are made by "
                    "programs; 48, 64, 74, 79, 95, 119 and 120 are the hardware's.",
                    kind="table",
                    width=12,
                    queries=(Query(f"plimsoll:gpu_xid:info{{{_OF_NODE}}}"),),
                ),
                Panel(
                    title="Rows of memory replaced",
                    about="Uncorrectable errors that the card mended by itself.",
                    width=12,
                    queries=(
                        Query(
                            'max by (node, UUID) (DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS{node=~"$node"} '
                            'or DCGM_FI_DEV_ROW_REMAP_UNCORRECTABLE_TOTAL{node=~"$node"})',
                            "{{node}} {{UUID}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Load",
            (*_LOAD, _CLOCK),
        ),
        Row(
            "Heat and power",
            (
                Panel(
                    title="Temperature",
                    about="Of the core.",
                    unit="celsius",
                    queries=(Query(f"plimsoll:gpu_temperature:celsius{{{_OF_NODE}}}", "{{node}} {{gpu}}"),),
                ),
                Panel(
                    title="Temperature of memory",
                    about="Of stacked memory.",
                    unit="celsius",
                    queries=(Query(f"plimsoll:gpu_memory_temperature:celsius{{{_OF_NODE}}}", "{{node}} {{gpu}}"),),
                ),
                Panel(
                    title="Power",
                    about="Draw of the card.",
                    unit="watt",
                    queries=(Query(f"plimsoll:gpu_power:watts{{{_OF_NODE}}}", "{{node}} {{gpu}}"),),
                ),
                Panel(
                    title="Slowed down by heat",
                    about="Share of time.",
                    unit="percentunit",
                    queries=(
                        Query(
                            'max by (node, gpu) (rate(DCGM_FI_DEV_THERMAL_VIOLATION{node=~"$node"}[10m])) / 1e9',
                            "{{node}} {{gpu}}",
                        ),
                    ),
                ),
                Panel(
                    title="Slowed down by the power limit",
                    about="Share of time.",
                    unit="percentunit",
                    queries=(
                        Query(
                            'max by (node, gpu) (rate(DCGM_FI_DEV_POWER_VIOLATION{node=~"$node"}[10m])) / 1e9',
                            "{{node}} {{gpu}}",
                        ),
                    ),
                ),
                Panel(
                    title="Energy",
                    about="Of the last hour.",
                    unit="joule",
                    stack=True,
                    queries=(
                        Query(f"increase(plimsoll:gpu_energy:joules_total{{{_OF_NODE}}}[1h])", "{{node}} {{gpu}}"),
                    ),
                ),
            ),
        ),
    ),
)

SHARED = Board(
    uid="plimsoll-shared",
    title="Shared and partitioned GPUs",
    about="MIG instances and GPUs that pods take turns on: who is on them, and whether the sizes fit.",
    variables=(POOL, NODE),
    rows=(
        Row(
            "Devices",
            (
                Panel(
                    title="Kinds of devices",
                    about="What nodes offer.",
                    kind="bargauge",
                    queries=(
                        Query(
                            'sum by (resource) (plimsoll:pool_gpu_allocatable:devices{pool=~"$pool"})', "{{resource}}"
                        ),
                    ),
                ),
                Panel(
                    title="Held",
                    about="Share of each kind that pods hold.",
                    kind="bargauge",
                    unit="percentunit",
                    most=1,
                    queries=(
                        Query(
                            'sum by (resource) (plimsoll:pool_gpu_held:devices{pool=~"$pool"}) '
                            '/ sum by (resource) (plimsoll:pool_gpu_allocatable:devices{pool=~"$pool"})',
                            "{{resource}}",
                        ),
                    ),
                ),
                Panel(
                    title="Pods on a device",
                    about="More than one share it; each sees the load of all.",
                    kind="bargauge",
                    queries=(
                        Query(f"topk(20, plimsoll:gpu_holders:count{{{_OF_NODE}}})", "{{node}} {{UUID}} {{GPU_I_ID}}"),
                    ),
                ),
            ),
        ),
        Row(
            "Do the sizes fit?",
            (
                Panel(
                    title="Memory used, by profile",
                    about="The fullest instance of each profile. Near 1: the next larger "
                    "profile; below 0.5 for days: the next smaller.",
                    unit="percentunit",
                    most=1,
                    width=12,
                    queries=(
                        Query(
                            'max by (GPU_I_PROFILE) (plimsoll:gpu_memory_used:ratio{GPU_I_PROFILE!="", node=~"$node"})',
                            "{{GPU_I_PROFILE}}",
                        ),
                    ),
                ),
                Panel(
                    title="Busy, by profile",
                    about="Mean over instances. An instance counts its own processors only.",
                    unit="percentunit",
                    most=1,
                    width=12,
                    queries=(
                        Query(
                            'avg by (GPU_I_PROFILE) (plimsoll:gpu_busy:ratio{GPU_I_PROFILE!="", node=~"$node"})',
                            "{{GPU_I_PROFILE}}",
                        ),
                    ),
                ),
                Panel(
                    title="Free, by kind",
                    about="Free devices of a kind nobody asks for, beside jobs that wait for another: "
                    "change the layout.",
                    width=12,
                    stack=True,
                    queries=(
                        Query('sum by (resource) (plimsoll:node_gpu_free:devices{node=~"$node"})', "{{resource}}"),
                    ),
                ),
                Panel(
                    title="Waiting, by kind",
                    about="Devices that jobs in the queues ask for.",
                    width=12,
                    stack=True,
                    queries=(
                        Query(
                            'max by (resource) (kueue_cluster_queue_resource_pending{resource=~"nvidia.com/.+"})',
                            "{{resource}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
