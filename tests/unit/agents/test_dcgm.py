"""Pages of dcgm-exporter as readings: recorded ones, those of the lab in each generation, and broken ones."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.agents.meter.dcgm import METRICS, Pages
from plimsoll.agents.meter.reading import Reading, Share
from plimsoll.kube.objects import Obj
from plimsoll.lab.telemetry import dcgm
from plimsoll.lab.telemetry.exporter import exporter
from plimsoll.lab.telemetry.gpus import observe
from tests.recorded import shared
from tests.unit.lab.telemetry_objects import T0, node, pod

A, B = ("team", "a"), ("team", "b")
UTIL, USED, BUSY = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
RATIO = "DCGM_FI_DEV_GPU_UTIL_RATIO"


def recorded(name: str) -> bytes:
    return shared(f"real/metrics/{name}").read_bytes()


def read(page: str | bytes) -> dict[tuple[str, str], Reading]:
    found = Pages().read("n", page.encode() if isinstance(page, str) else page)
    assert len({each.device for each in found}) == len(found)
    assert {each.node for each in found} == {"n"}
    return {each.device: each for each in found}


def line(name: str, value: object, gpu: str = "GPU-1", pod: tuple[str, str] | None = None, more: str = "") -> str:
    whose = f',namespace="{pod[0]}",pod="{pod[1]}"' if pod else ""
    return f'{name}{{gpu="0",UUID="{gpu}",modelName="NVIDIA H100"{more}{whose}}} {value}\n'


def page(*lines: str) -> str:
    """Lines of a metric below what is said about it."""
    found: dict[str, list[str]] = {}
    for each in lines:
        found.setdefault(each.partition("{")[0], []).append(each)
    return "".join(f"# HELP {name} is.\n# TYPE {name} gauge\n{''.join(rows)}" for name, rows in found.items())


def mig(instance: int, profile: str = "1g.10gb") -> str:
    return f',GPU_I_PROFILE="{profile}",GPU_I_ID="{instance}"'


# ---- recorded


def test_a_recorded_card_of_a_cloud() -> None:
    (found,) = read(recorded("cncf_kops_aws_l4_dcgm.prom")).values()
    assert (found.gpu, found.model) == ("GPU-c2f76b33-7953-256e-8f33-1343419b1a1c", "NVIDIA L4")
    assert (found.busy, found.tensor, found.dram, found.memory_mib) == (0, 0, 0, 0)
    assert (found.watts, found.sm, found.holders) == (16.365, None, ())
    assert found.joules == pytest.approx(4742.776)


def test_a_recorded_excerpt_without_help_lines_names_the_pod_of_one_card_of_eight() -> None:
    found = read(recorded("aicr_eks_h100_dcgm_excerpt.prom"))
    assert len(found) == 8
    assert [each.holders for each in found.values()] == [
        (("dynamo-workload", "vllm-agg-0-vllmdecodeworker-s65j5"),), *[()] * 7
    ]  # fmt: skip
    assert next(iter(found.values())).watts == 113.611


def test_recorded_mig_instances() -> None:
    found = read(recorded("dcgm_a100_mig_4-active.prom"))
    assert {instance: each.profile for (_, instance), each in found.items()} == {
        "7": "1g.5gb", "8": "1g.5gb", "9": "1g.5gb", "5": "2g.10gb",
    }  # fmt: skip
    working = found["GPU-473571f2-fb37-ef7e-50fe-9885b74a23cd", "8"]
    assert (working.busy, working.dram, working.memory_mib) == (0.408493, 0.250816, 4384)
    assert [each.joules for each in found.values()] == [pytest.approx(6890.956)] * 4  # of the whole GPU


@pytest.mark.parametrize(
    ("name", "model"),
    [("cncf_upcloud_dcgm.prom", "NVIDIA L40S"), ("cncf_vks135_vgpu_a100-40c_dcgm.prom", "GRID A100-40C"),
     ("dcgm_a100_mig-disabled_empty.prom", "NVIDIA A100-SXM4-40GB"),
     ("dcgm_a100_mig-enabled_empty.prom", "NVIDIA A100-SXM4-40GB")],
)  # fmt: skip
def test_recorded_cards_of_which_less_is_told(name: str, model: str) -> None:
    (found,) = read(recorded(name)).values()
    assert (found.model, found.instance, found.holders) == (model, "", ())
    assert found.busy is not None
    assert found.busy < 0.01


def test_recorded_labels_of_exporters_1_x() -> None:
    (found,) = read(recorded("gmt_dcgm_v1_node_excerpt.prom")).values()
    assert (found.gpu, found.watts) == ("GPU-8f640a3c-7e9a-608d-02a3-f4372d72b323", 31.737)
    assert found.joules == pytest.approx(7824.041)
    both = read(recorded("gmt_dcgm_v1_pod-labels_excerpt.prom")).values()
    assert [each.holders for each in both] == [(("default", "pod1"),)] * 2


def test_a_recorded_page_of_a_model_server_is_none_of_an_exporter() -> None:
    with pytest.raises(ValueError, match="no page of dcgm-exporter"):
        Pages().read("n", recorded("cncf_kops_vllm_l4_metrics.prom"))


# ---- the lab's exporter, in each generation


def lab(generation: str, obj: Obj, *pods: Obj) -> dict[tuple[str, str], Reading]:
    image = {"legacy": "4.2.3-4.1.3", "current": "4.9.0-4.9.0"}[generation]
    by = pod("exporter-x", amount=0, image=f"nvcr.io/nvidia/k8s/dcgm-exporter:{image}-ubuntu22.04",
             labels={"app": "nvidia-dcgm-exporter"})  # fmt: skip
    return read(dcgm.page(observe(obj, pods, exporter(obj, by), T0, None)).at(T0))


@pytest.mark.parametrize("cut", [False, True])
def test_both_generations_of_the_labs_exporter_read_alike(cut: bool) -> None:
    more = {"capacity": {"nvidia.com/mig-1g.10gb": 7}, "gpus": 1} if cut else {"gpus": 4}
    resource = "nvidia.com/mig-1g.10gb" if cut else "nvidia.com/gpu"
    pods = [pod("a", amount=1, resource=resource), pod("b", amount=1, resource=resource)]
    old = lab("legacy", node(**more), *pods)
    new = lab("current", node(**more), *pods)
    assert len(old) == len(new) == (7 if cut else 4)
    assert sum(len(each.holders) for each in old.values()) == 2
    for device, was in old.items():
        now = new[device]
        assert (was.profile, was.holders, was.model) == (now.profile, now.holders, now.model)
        for field in ("busy", "tensor", "dram", "watts", "joules", "memory_mib"):
            assert getattr(was, field) == pytest.approx(getattr(now, field), rel=1e-3, abs=0.011), field


# ---- units


def test_the_first_metric_that_tells_how_busy_goes_first() -> None:
    assert read(page(line(UTIL, 70), line(BUSY, 0.5)))["GPU-1", ""].busy == 0.5
    assert read(page(line(UTIL, 70)))["GPU-1", ""].busy == pytest.approx(0.7)


def test_the_new_name_has_the_old_unit_in_4_6() -> None:
    assert read(page(line(RATIO, 1), line(USED, 5)))["GPU-1", ""].busy == 0.01
    assert read(page(line(RATIO, 80), line(USED, 5)))["GPU-1", ""].busy == 0.8
    assert read(page(line(RATIO, 1), line("DCGM_FI_DEV_FB_USED_BYTES", 1 << 20)))["GPU-1", ""].busy == 1
    assert read(page(line(RATIO, 80)))["GPU-1", ""].busy == 0.8


def test_memory_and_energy_are_brought_to_one_unit() -> None:
    old = read(page(line(USED, 1024), line("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 5000)))["GPU-1", ""]
    new = read(page(line("DCGM_FI_DEV_FB_USED_BYTES", 1 << 30), line("DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL", 5)))
    assert (old.memory_mib, old.joules) == (new["GPU-1", ""].memory_mib, new["GPU-1", ""].joules) == (1024, 5)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "", "x", "1_0x"])
def test_what_is_no_number_was_not_read(value: str) -> None:
    found = read(page(line(BUSY, value), line(USED, 5)))["GPU-1", ""]
    assert (found.busy, found.memory_mib) == (None, 5)


def test_a_timestamp_may_follow() -> None:
    assert read(page(line(BUSY, "0.25 1700000000000")))["GPU-1", ""].busy == 0.25


@pytest.mark.parametrize(("said", "busy"), [(-1, None), (1.02, 1.0), (0, 0.0)])
def test_ratios_lie_between_0_and_1(said: float, busy: float | None) -> None:
    assert read(page(line(BUSY, said), line(USED, 5)))["GPU-1", ""].busy == busy


# ---- sharers


def test_lines_of_pods_beside_the_devices_are_their_own() -> None:
    found = read(page(
        line(BUSY, 0.9), line(UTIL, 90), line(UTIL, 60, pod=A), line(UTIL, 30, pod=B),
        line(USED, 900), line(USED, 600, pod=A), line(USED, 300, pod=B),
    ))["GPU-1", ""]  # fmt: skip
    assert (found.busy, found.memory_mib) == (0.9, 900)
    assert found.shares == (Share(A, 0.6, 600), Share(B, 0.3, 300))
    assert set(found.holders) == {A, B}


def test_copies_of_one_reading_are_nobodys_own() -> None:
    found = read(page(line(UTIL, 90, pod=A), line(UTIL, 90, pod=B), line(USED, 8, pod=A), line(USED, 8, pod=B)))
    only = found["GPU-1", ""]
    assert (only.busy, only.memory_mib, only.shares, only.holders) == (0.9, 8, (), (A, B))


def test_sharers_that_all_read_0_on_a_busy_device_were_not_seen() -> None:
    lines = line(UTIL, 90), line(UTIL, 0, pod=A), line(UTIL, 0, pod=B), line(USED, 9), line(USED, 4, pod=A)
    found = read(page(*lines))["GPU-1", ""]
    assert found.shares == (Share(A, None, 4),)
    quiet = read(page(line(UTIL, 3), line(UTIL, 0, pod=A), line(UTIL, 0, pod=B)))["GPU-1", ""]
    assert quiet.shares == (Share(A, 0.0), Share(B, 0.0))


# ---- MIG


def test_instances_stand_for_their_gpu() -> None:
    alone = page(line(BUSY, 0.5, more=mig(3)), line(BUSY, 0.1, more=mig(4)))
    beside = page(line(BUSY, 0.5, more=mig(3)), line(BUSY, 0.1, more=mig(4)), line(BUSY, 0.3),
                  line("DCGM_FI_DEV_POWER_USAGE", 300), line("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 7000))  # fmt: skip
    assert set(read(alone)) == set(read(beside)) == {("GPU-1", "3"), ("GPU-1", "4")}
    assert {(each.watts, each.joules) for each in read(beside).values()} == {(300, 7)}
    assert {each.watts for each in read(alone).values()} == {None}


def test_a_cut_gpu_leaves_its_neighbour_alone() -> None:
    assert set(read(page(line(BUSY, 0.5, more=mig(3)), line(BUSY, 0.1, gpu="GPU-2")))) == {
        ("GPU-1", "3"), ("GPU-2", ""),
    }  # fmt: skip


# ---- the format, broken


def test_help_lines_say_nothing_or_are_absent() -> None:
    lines = line(BUSY, 0.5), line(USED, 7)
    spoken = page(*lines)
    wanted = read(spoken)
    for text in ("".join(lines), spoken.replace(" is.", ""), spoken.replace(" is.", " "),
                 "".join(f"# TYPE {each.partition('{')[0]} gauge\n{each}" for each in lines)):  # fmt: skip
        assert read(text) == wanted, text


def test_labels_hold_what_they_like() -> None:
    text = line(BUSY, 0.5, pod=A, more=r',pod_label="a\"} 9 {\\,UUID=\"GPU-9\"",uid="ä"')
    (found,) = read(page(text)).values()
    assert (found.gpu, found.busy, found.holders) == ("GPU-1", 0.5, (A,))


def test_a_label_whose_name_ends_like_another_is_not_it() -> None:
    text = line(BUSY, 0.5, more=',exported_pod="no",xUUID="GPU-9",exported_namespace="no"')
    (found,) = read(page(text)).values()
    assert (found.gpu, found.holders) == ("GPU-1", ())


@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"<html><body>DCGM</body></html>", b"\x00\xff" * 500, b"up 1\n", b"{}", b"DCGM", b"# HELP "],
)
def test_what_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="no page of dcgm-exporter"):
        Pages().read("n", body)


@pytest.mark.parametrize(
    "text", ['DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1"} 30\n', line(BUSY, "NaN"), f"{BUSY}{{}} 1\n"]
)
def test_a_page_of_no_gpu_is_told_from_that(text: str) -> None:
    with pytest.raises(ValueError, match="its page has no GPU"):
        Pages().read("n", page(text).encode())


def test_many_labels_are_read_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.agents.meter.dcgm._KNOWN_MAX", 50)
    pages = Pages()
    for turn in range(4):
        text = page(*(line(BUSY, 0.5, f"GPU-{turn}-{number}") for number in range(40)))
        assert len(pages.read("n", text.encode())) == 40
    assert len(pages._lines) <= 50 + 40


def test_a_long_label_is_read() -> None:
    more = f',x="{"y" * 100_000}"'
    assert read(page(line(BUSY, 0.5, more=more)))["GPU-1", ""].busy == 0.5


@given(st.binary(max_size=400), st.integers(0, 1 << 30))
def test_damage_is_refused_or_read_within_bounds(noise: bytes, seed: int) -> None:
    random = Random(seed)
    body = bytearray(page(line(BUSY, 0.5, pod=A), line(UTIL, 50), line(UTIL, 5, pod=B), line(USED, 7)).encode())
    at = random.randrange(len(body))
    body[at : at + random.randrange(40)] = noise
    try:
        found = Pages().read("n", bytes(body))
    except ValueError:
        return
    for each in found:
        assert each.gpu
        assert each.busy is None or 0 <= each.busy <= 1


@given(st.lists(st.sampled_from(sorted(METRICS)), min_size=1, unique=True), st.randoms(use_true_random=False))
def test_the_order_of_metrics_does_not_matter(names: list[bytes], random: Random) -> None:
    lines = [line(name.decode(), 0.25) for name in names]
    wanted = read(page(*lines))
    random.shuffle(lines)
    assert read(page(*lines)) == wanted
