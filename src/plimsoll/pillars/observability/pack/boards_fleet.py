"""The dashboard of the whole fleet."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.boards_common import CPU, MEMORY, POOL, in_pool
from plimsoll.pillars.observability.pack.grafana import Board, Panel, Query, Row, Step


def _average(name: str) -> str:
    return f"avg({in_pool(f'plimsoll:{name}')})"


FLEET = Board(
    uid="plimsoll-fleet",
    title="GPU fleet",
    about="All GPUs: how many there are, who holds them, what they do, and what waits beside them.",
    variables=(POOL,),
    rows=(
        Row(
            "Now",
            (
                Panel(
                    title="GPUs",
                    about="Cards that are measured; a card with MIG counts once.",
                    kind="stat",
                    width=4,
                    height=4,
                    queries=(Query(f"count(group by (node, UUID) ({in_pool('plimsoll:gpu:info')}))"),),
                ),
                Panel(
                    title="Held",
                    about="Share of devices that pods hold, busy or not.",
                    kind="stat",
                    width=4,
                    height=4,
                    unit="percentunit",
                    queries=(
                        Query(
                            'sum(plimsoll:pool_gpu_held:devices{pool=~"$pool"}) '
                            '/ sum(plimsoll:pool_gpu_allocatable:devices{pool=~"$pool"})'
                        ),
                    ),
                ),
                Panel(
                    title="Busy",
                    about="Mean share of time in which anything ran on a GPU.",
                    kind="stat",
                    width=4,
                    height=4,
                    unit="percentunit",
                    queries=(Query(_average("gpu_busy:ratio")),),
                ),
                Panel(
                    title="Power",
                    about="Draw of all cards together.",
                    kind="stat",
                    width=4,
                    height=4,
                    unit="watt",
                    queries=(Query(f"sum({in_pool('plimsoll:gpu_power:watts')})"),),
                ),
                Panel(
                    title="Jobs that wait",
                    about="In all queues, admissible or not.",
                    kind="stat",
                    width=4,
                    height=4,
                    queries=(Query("sum(plimsoll:queue_pending:workloads) or vector(0)"),),
                ),
                Panel(
                    title="Critical alerts",
                    about="That fire now.",
                    kind="stat",
                    width=4,
                    height=4,
                    steps=(Step(1, "red"),),
                    queries=(Query('count(ALERTS{alertstate="firing", severity="critical"}) or vector(0)'),),
                ),
            ),
        ),
        Row(
            "Use",
            (
                Panel(
                    title="Held, busy and useful",
                    about="From top to bottom: devices held; time anything ran; processors with work; tensor cores at "
                    "work. The gap between the first two is idle money, between the others poor use. Decoding of "
                    "language models keeps tensor cores low by nature.",
                    unit="percentunit",
                    most=1,
                    width=12,
                    queries=(
                        Query(
                            'sum(plimsoll:pool_gpu_held:devices{pool=~"$pool"}) '
                            '/ sum(plimsoll:pool_gpu_allocatable:devices{pool=~"$pool"})',
                            "held",
                        ),
                        Query(_average("gpu_busy:ratio"), "busy"),
                        Query(_average("gpu_sm_active:ratio"), "processors"),
                        Query(_average("gpu_tensor_active:ratio"), "tensor cores"),
                    ),
                ),
                Panel(
                    title="GPU memory",
                    about="Used of all there is. Servers of models take most of a card at their "
                    "start, so this says what is allocated, not how much is needed.",
                    unit="bytes",
                    width=12,
                    queries=(
                        Query(f"sum({in_pool('plimsoll:gpu_memory_used:bytes')})", "used"),
                        Query(f"sum({in_pool('plimsoll:gpu_memory:bytes')})", "there"),
                    ),
                ),
                Panel(
                    title="Busy by pool",
                    about="Mean of each pool.",
                    unit="percentunit",
                    most=1,
                    queries=(Query(f"avg by (pool) ({in_pool('plimsoll:gpu_busy:ratio')})", "{{pool}}"),),
                ),
                Panel(
                    title="Held by pool",
                    about="Share of the devices of each kind that pods hold.",
                    unit="percentunit",
                    most=1,
                    queries=(Query('plimsoll:pool_gpu_allocation:ratio{pool=~"$pool"}', "{{pool}} {{resource}}"),),
                ),
                Panel(
                    title="Memory traffic",
                    about="Time the memory interface moved data, by pool. High beside low tensor "
                    "cores is decoding, and well.",
                    unit="percentunit",
                    most=1,
                    queries=(Query(f"avg by (pool) ({in_pool('plimsoll:gpu_dram_active:ratio')})", "{{pool}}"),),
                ),
            ),
        ),
        Row(
            "Heat and power",
            (
                Panel(
                    title="Temperature",
                    about="Of the hottest card of each pool, and of the mean one.",
                    unit="celsius",
                    queries=(
                        Query(f"max by (pool) ({in_pool('plimsoll:gpu_temperature:celsius')})", "{{pool}} hottest"),
                        Query(f"avg by (pool) ({in_pool('plimsoll:gpu_temperature:celsius')})", "{{pool}} mean"),
                    ),
                ),
                Panel(
                    title="Temperature of memory",
                    about="Stacked memory can be too hot while the core is cool.",
                    unit="celsius",
                    queries=(
                        Query(
                            f"max by (pool) ({in_pool('plimsoll:gpu_memory_temperature:celsius')})", "{{pool}} hottest"
                        ),
                    ),
                ),
                Panel(
                    title="Power",
                    about="Draw by pool.",
                    unit="watt",
                    stack=True,
                    queries=(Query(f"sum by (pool) ({in_pool('plimsoll:gpu_power:watts')})", "{{pool}}"),),
                ),
            ),
        ),
        Row(
            "Beside the GPUs",
            (
                Panel(
                    title="Queue length",
                    about="Jobs that wait, by queue.",
                    stack=True,
                    queries=(Query("sum by (cluster_queue) (plimsoll:queue_pending:workloads)", "{{cluster_queue}}"),),
                ),
                Panel(
                    title="CPU of GPU nodes",
                    about="A GPU whose node has no CPU left can be given to nobody.",
                    queries=CPU,
                ),
                Panel(title="Memory of GPU nodes", about="The same for memory.", unit="bytes", queries=MEMORY),
            ),
        ),
    ),
)
