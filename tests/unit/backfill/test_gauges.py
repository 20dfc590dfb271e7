"""What dcgm-exporter's series are read as: the same as the meter reads its page, page by page, real ones among them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isnan, nan
from typing import Any

import pytest

from plimsoll.agents.meter.dcgm import Pages
from plimsoll.agents.meter.reading import Reading
from plimsoll.backfill import coverage, devices, gauges
from plimsoll.backfill.ask import Source, Stretch
from plimsoll.backfill.devices import Device, Hosts
from plimsoll.backfill.gauges import Grid, Values
from plimsoll.kube.prometheus import Prometheus
from tests.recorded import SHARED, shared
from tests.unit.backfill.past import HOUR, MINUTE, START
from tests.unit.kube.promserver import Exposed, serving

NODE = "gpu-node"
TARGET = {
    "namespace": "gpu-operator",
    "pod": "dcgm-exporter-abcde",
    "container": "exporter",
    "instance": "10.0.0.1:9400",
}
_LINE = re.compile(r"(\w+)\{(.*)\} (\S+)")
_PAIR = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

GPU = 'gpu="0",UUID="GPU-a",modelName="NVIDIA H100 80GB HBM3",hostname="gpu-node"'
HELD = 'namespace="blue",pod="one",container="main"'
OTHER = 'namespace="blue",pod="two",container="main"'
PAGES = {
    "percent": f"""
DCGM_FI_DEV_GPU_UTIL{{{GPU},{HELD}}} 87
DCGM_FI_DEV_FB_USED{{{GPU},{HELD}}} 1024
DCGM_FI_DEV_POWER_USAGE{{{GPU},{HELD}}} 412.5
""",
    "new names with the old unit": f"""
DCGM_FI_DEV_GPU_UTIL_RATIO{{{GPU},{HELD}}} 1
DCGM_FI_DEV_FB_USED{{{GPU},{HELD}}} 1024
""",
    "new names": f"""
DCGM_FI_DEV_GPU_UTIL_RATIO{{{GPU}}} 1
DCGM_FI_DEV_FB_USED_BYTES{{{GPU}}} 1073741824
DCGM_FI_DEV_BOARD_POWER_WATTS{{{GPU}}} 300
DCGM_FI_PROF_SM_UTIL_RATIO{{{GPU}}} 0.25
""",
    "several of one thing": f"""
DCGM_FI_DEV_GPU_UTIL{{{GPU}}} 100
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{GPU}}} 0.31
DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{{{GPU}}} 0.1
DCGM_FI_PROF_DRAM_ACTIVE{{{GPU}}} 0.2
DCGM_FI_DEV_FB_USED{{{GPU}}} 1
""",
    "sharers": f"""
DCGM_FI_DEV_GPU_UTIL{{{GPU}}} 90
DCGM_FI_DEV_GPU_UTIL{{{GPU},{HELD},vgpu="0"}} 60
DCGM_FI_DEV_GPU_UTIL{{{GPU},{OTHER},vgpu="1"}} 30
DCGM_FI_DEV_FB_USED{{{GPU}}} 3000
DCGM_FI_DEV_FB_USED{{{GPU},{HELD},vgpu="0"}} 1000
DCGM_FI_DEV_FB_USED{{{GPU},{OTHER},vgpu="1"}} 2000
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{GPU},{HELD},vgpu="0"}} 0.8
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{GPU},{OTHER},vgpu="1"}} 0.8
""",
    "sharers that the exporter cannot see": f"""
DCGM_FI_DEV_GPU_UTIL{{{GPU}}} 90
DCGM_FI_DEV_GPU_UTIL{{{GPU},{HELD},vgpu="0"}} 0
DCGM_FI_DEV_GPU_UTIL{{{GPU},{OTHER},vgpu="1"}} 0
DCGM_FI_DEV_FB_USED{{{GPU}}} 3000
""",
    "instances beside their GPU": f"""
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{GPU}}} 0.4
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{GPU},GPU_I_PROFILE="3g.40gb",GPU_I_ID="2",{HELD}}} 0.9
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{GPU},GPU_I_PROFILE="1g.10gb",GPU_I_ID="9"}} 0
DCGM_FI_DEV_FB_USED{{{GPU},GPU_I_PROFILE="3g.40gb",GPU_I_ID="2",{HELD}}} 20000
DCGM_FI_DEV_FB_USED{{{GPU},GPU_I_PROFILE="1g.10gb",GPU_I_ID="9"}} 10
""",
}


def real() -> dict[str, str]:
    """Pages of exporters out there, by name; none where they are not."""
    found = sorted((SHARED / "real" / "metrics").glob("*dcgm*.prom"))
    return {path.stem: path.read_text() for path in found}


def scraped(page: str, cluster: str, *, honor: bool) -> Iterator[Exposed]:
    """A page as Prometheus keeps it, scraped for an hour."""
    for line in page.splitlines():
        if not (match := _LINE.fullmatch(line)):
            continue
        own = dict(_PAIR.findall(match[2]))
        labels: dict[str, str] = {}
        for name, value in {**TARGET, "node": NODE}.items():
            if name in own and not honor:
                labels[f"exported_{name}"] = own.pop(name)
            labels[name] = value
        kept = {name: value for name, value in (labels | own).items() if value}  # an empty label is none
        for at in range(START - HOUR, START + HOUR, MINUTE // 2):
            yield match[1], kept | {"cluster": cluster}, at / 1000, float(match[3])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Every page, each scraped with honored labels and without, as clusters of their own."""
    samples = [
        sample
        for title, page in {**PAGES, **real()}.items()
        for honor in (False, True)
        for sample in scraped(page, f"{title}/{honor}", honor=honor)
    ]
    with serving(tmp_path_factory.mktemp("gauges"), samples) as url, Prometheus(url) as found:
        yield found


def check(server: Prometheus, title: str, page: str, *, honor: bool) -> None:
    expected = {each.device: each for each in Pages().read(NODE, page.encode())}
    source = Source(server, f"cluster={title}/{honor}")
    hour, hosts = Stretch(START / 1000, (START + HOUR) / 1000), Hosts([NODE])
    there = source.names(coverage.WANTED, hour)
    cut = {device[0] for device in expected if device[1]}

    metrics = [name for kind in devices.kinds(there) for name in kind]
    seen = {each.device: each for each in devices.read(source, hour, metrics, hosts)}
    whole = {Device(*device) for device in expected}
    assert {device for device in seen if device.instance or device.gpu not in cut} <= whole
    holders = {holder for each in expected.values() for holder in each.holders}
    for device, each in seen.items():
        if device in expected:
            assert {name for name in each.links if name in holders} == set(expected[device].holders)

    grid = Grid(START, START + HOUR, MINUTE)
    found = gauges.read(source, grid, there, hosts, holders)
    told = {device: values for (_, device), values in found.items() if device.instance or device.gpu not in cut}
    assert set(told) == whole
    for device, values in told.items():
        same(values, expected[device], found.get((NODE, Device(device.gpu))), grid)


def same(values: Values, reading: Reading, above: Values | None, grid: Grid) -> None:
    fields: Mapping[str, Any] = values.fields
    for field, expected in (("busy", reading.busy), ("sm", reading.sm), ("tensor", reading.tensor),
                            ("dram", reading.dram), ("memory", reading.memory_mib)):  # fmt: skip
        cells = fields.get(field, [nan] * grid.count)[: grid.count]
        assert len(cells) == 60
        assert all(isnan(cell) if expected is None else cell == pytest.approx(expected) for cell in cells), field
    above = above or values
    for field, of_gpu in (("watts", reading.watts), ("joules", reading.joules)):
        cells = fields.get(field) or above.fields.get(field) or [nan]
        assert isnan(cells[0]) if of_gpu is None else cells[0] == pytest.approx(of_gpu)
    used = {pod: own["busy"][0] for pod, own in values.own.items() if "busy" in own and not isnan(own["busy"][0])}
    assert used == {share.pod: pytest.approx(share.busy) for share in reading.shares if share.busy is not None}
    memory = {pod: own["memory"][0] for pod, own in values.own.items() if "memory" in own}
    assert memory == {share.pod: pytest.approx(share.memory_mib) for share in reading.shares if share.memory_mib}


@pytest.mark.parametrize("honor", [False, True])
@pytest.mark.parametrize("title", PAGES)
def test_a_page_reads_as_the_meter_reads_it(server: Prometheus, title: str, honor: bool) -> None:
    check(server, title, PAGES[title], honor=honor)


@pytest.mark.parametrize("honor", [False, True])
def test_real_pages_read_as_the_meter_reads_them(server: Prometheus, honor: bool) -> None:
    shared("real/metrics")
    pages = real()
    assert pages
    for title, page in pages.items():
        if "empty" not in title:
            check(server, title, page, honor=honor)


def test_a_host_that_is_an_exporters_pod_is_that_pods_node(server: Prometheus) -> None:
    hosts = Hosts([NODE])
    assert hosts.node(("", "unheard-of", "", "", "")) == ""
    assert hosts.lost == {"unheard-of"}
    assert hosts.node(("", "unheard-of", NODE, "", "")) == NODE
