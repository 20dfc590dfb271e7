"""Two months of a small platform, made of rules that can be checked by hand: teams, a service, spot, evictions."""

from __future__ import annotations

from plimsoll.cost.sample import (
    HOUR,
    Ended,
    Gpu,
    Hold,
    Node,
    Pod,
    Record,
    Running,
    Tokens,
    Watch,
    measured,
)
from plimsoll.cost.window import DAY, month
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform

PLATFORM = """
metadata: {name: acme}
cluster: {provider: eks, region: us-east-1}
pools:
  - name: h100
    gpu: H100-SXM5-80GB
    gpusPerNode: 8
    nodes: {max: 4}
    price: {perNodeHour: 40, source: contract 4711, asOf: 2026-09-01}
  - name: h100-spot
    gpu: H100-SXM5-80GB
    gpusPerNode: 8
    nodes: {max: 4}
    capacity: spot
    instanceType: p5.48xlarge
    price: {perNodeHour: 16, source: spot average, asOf: 2026-10-01}
teams:
  - {name: research, quota: {h100: 8}, budget: {monthly: 6000}}
  - {name: search, quota: {h100: 8}, budget: {monthly: 20000}}
  - {name: idlers}
spot: {checkpoint: {interval: 30m}}
"""
OCTOBER, NOVEMBER = month("2026-10"), month("2026-11")
NOW = NOVEMBER.began + 25 * DAY + 12 * HOUR  # noon of the 26th
MINUTE = 60_000
SKU = "H100-SXM5-80GB"


def platform() -> Platform:
    return load(PLATFORM.encode(), "platform.yaml")


def records(until: int = NOW) -> list[Record]:
    """The service `chat` of search holds two GPUs all the time, and is busy by day. Research trains eight hours on four
    GPUs every weekday, on Mondays on spot, where it is pushed out after five hours. An idler holds one GPU, always.
    """
    found: list[Record] = [Watch(meter="m", began=OCTOBER.began, ended=until)]
    for name, pool in (("one", "h100"), ("two", "h100-spot")):
        spot = pool == "h100-spot"
        found.append(Node(uid=name, name=name, pool=pool, sku=SKU, gpus=8, provider="aws", region="us-east-1",
                          capacity="spot" if spot else "on-demand", instance_type="p5.48xlarge" if spot else "",
                          began=OCTOBER.began))  # fmt: skip
        found += [Gpu(node=name, gpu=f"{name}-{place}", began=OCTOBER.began) for place in range(8)]
    found += _pod("chat", "search", "one", (0, 1), OCTOBER.began, model="acme/chat", workload="search/chat")
    found += _pod("notebook", "idlers", "one", (7,), OCTOBER.began, workload="idlers/notebook")
    for at in range(OCTOBER.began, until, DAY):
        found += _service(at, until)
        found += _used("notebook", "one", (7,), at, min(at + DAY, until), 0.0)
        found += _training(at, until)
    return found


def _pod(
    name: str, team: str, node: str, gpus: tuple[int, ...], began: int, *, model: str = "", workload: str = "",
    job: str = "", uid: str = "",
) -> list[Record]:  # fmt: skip
    uid = uid or name
    return [
        Pod(uid=uid, namespace=team, name=name, node=node, team=team, job=job, job_uid=f"{job}-uid" if job else "",
            workload=workload or job, model=model, created=began - 2 * MINUTE, began=began),
        Running(pod=uid, moment=began + 6 * MINUTE),
        *(Hold(pod=uid, node=node, gpu=f"{node}-{gpu}", began=began) for gpu in gpus),
    ]  # fmt: skip


def _used(uid: str, node: str, gpus: tuple[int, ...], began: int, ended: int, busy: float) -> list[Record]:
    if began >= ended:
        return []
    return [measured(f"{node}-{gpu}", "", uid, began, ended, busy, busy, watts=100 + 500 * busy) for gpu in gpus]


def _service(at: int, until: int) -> list[Record]:
    """Busy from eight to twenty; two thirds of its tokens are web's, a third is mobile's."""
    found: list[Record] = []
    for began, ended, busy in ((at, at + 8 * HOUR, 0.0), (at + 8 * HOUR, at + 20 * HOUR, 0.6),
                               (at + 20 * HOUR, at + DAY, 0.0)):  # fmt: skip
        found += _used("chat", "one", (0, 1), began, min(ended, until), busy)
    if at + 20 * HOUR <= until:
        for tenant, many in (("web", 2), ("mobile", 1)):
            found.append(Tokens(model="acme/chat", tenant=tenant, pod="chat", began=at + 8 * HOUR,
                                ended=at + 20 * HOUR, requests=1200 * many, prompt=600_000 * many,
                                output=240_000 * many))  # fmt: skip
    return found


def _training(at: int, until: int) -> list[Record]:
    weekday = (at // DAY + 3) % 7  # 0 is Monday: 1970-01-01 was a Thursday
    began = at + 9 * HOUR
    if weekday > 4 or began + 8 * HOUR > until:
        return []
    gpus, job = (2, 3, 4, 5), f"research/train-{at // DAY}"
    if weekday:
        ended = [began + 8 * HOUR]
        nodes = ["one"]
    else:
        ended = [began + 5 * HOUR, began + 8 * HOUR]
        nodes = ["two", "one"]
    found: list[Record] = []
    for place, (node, end) in enumerate(zip(nodes, ended, strict=True)):
        uid = f"{job}-{place}"
        start = began if not place else ended[0] + 10 * MINUTE
        found += _pod(f"train-{at // DAY}-0", "research", node, gpus, start, job=job, uid=uid)
        found += _used(uid, node, gpus, start + 6 * MINUTE, end, 0.9)
        last = place + 1 == len(nodes)
        found.append(Ended(kind="pod", subject=(uid,), moment=end, why="" if last else "DeletionByTaintManager"))
    return found
