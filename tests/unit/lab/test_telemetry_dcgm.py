"""The page of dcgm-exporter: shaped as recorded, devices as pods ask for them, values that agree with each other."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.kube.objects import Obj
from plimsoll.lab.telemetry import dcgm, gpus
from plimsoll.lab.telemetry.devices import inventory
from plimsoll.lab.telemetry.exporter import exporter
from plimsoll.lab.telemetry.fields import FIELDS
from plimsoll.lab.telemetry.gpus import Seen, observe
from tests.recorded import shared
from tests.unit.lab.promtext import Family, parse, recorded, shapes
from tests.unit.lab.telemetry_objects import T0, node, pod

USE, UTIL, USED = "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED"
ENERGY, POWER = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_POWER_USAGE"
MIXED = {"nvidia.com/mig-1g.10gb": 16, "nvidia.com/mig-2g.20gb": 8, "nvidia.com/mig-3g.40gb": 8}


def exporter_pod(image: str = "nvcr.io/nvidia/k8s/dcgm-exporter:4.2.3-4.1.3-ubuntu22.04", **env: str) -> Obj:
    made = pod("exporter-x", amount=0, image=image, labels={"app": "nvidia-dcgm-exporter"})
    made["metadata"]["namespace"] = "gpu-operator"
    made["spec"]["containers"][0] |= {"env": [{"name": key, "value": value} for key, value in env.items()]}
    return made


def seen(obj: Obj, *pods: Obj, by: Obj | None = None, at: float = T0, before: Seen | None = None) -> Seen:
    return observe(obj, pods, exporter(obj, by), at, before)


def page(obj: Obj, *pods: Obj, by: Obj | None = None, at: float = T0) -> dict[str, Family]:
    return parse(dcgm.page(seen(obj, *pods, by=by, at=at)).at(at))


def by_pod(families: dict[str, Family], name: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for sample in families[name].samples:
        found.setdefault(sample.labels.get("pod", ""), []).append(sample.value)
    return found


def read(name: str) -> dict[str, set[frozenset[str]]]:
    return recorded(shared(f"real/metrics/{name}").read_text())


# ---- shape


@pytest.mark.parametrize("name", ["cncf_kops_aws_l4_dcgm.prom", "cncf_upcloud_dcgm.prom"])
def test_an_idle_card_has_every_series_of_a_recorded_one_with_the_same_labels(name: str) -> None:
    theirs = read(name)
    ours = shapes(dcgm.page(seen(node(product="NVIDIA-L4", gpus=1, dcgm_generation="legacy"))).at(T0))
    assert not {metric: labels for metric, labels in theirs.items() if ours.get(metric) != labels}


def test_a_card_in_use_has_the_labels_of_a_recorded_one_and_its_neighbour_none_of_the_pod() -> None:
    theirs = read("aicr_eks_h100_dcgm_excerpt.prom")
    ours = shapes(dcgm.page(seen(node(dcgm_generation="legacy"), pod())).at(T0))
    assert {metric: ours[metric] for metric in theirs} == theirs


def test_mig_instances_have_the_series_of_recorded_ones_and_no_others_of_the_default_ones() -> None:
    theirs = read("dcgm_a100_mig_4-active.prom")
    cut = node(product="NVIDIA-A100-SXM4-40GB", gpus=1, capacity={"nvidia.com/mig-1g.5gb": 7}, dcgm_generation="legacy")
    ours = shapes(dcgm.page(seen(cut)).at(T0))
    newer = {"pci_bus_id"}  # of exporters since 3.2; then a pod's labels are left out where there is none
    expected = {
        metric: {labels - {"container", "namespace", "pod"} | newer for labels in found}
        for metric, found in theirs.items()
        if metric != "DCGM_FI_DEV_XID_ERRORS"  # newer ones have none before the first error
    }
    assert {metric: ours.get(metric) for metric in expected} == expected
    assert not ours.keys() & {UTIL, "DCGM_FI_DEV_MEM_COPY_UTIL", "DCGM_FI_PROF_PCIE_TX_BYTES"}


def test_a_gpu_with_mig_on_and_no_instance_reports_neither_use_nor_memory() -> None:
    theirs = read("dcgm_a100_mig-enabled_empty.prom")
    cut = node(
        product="NVIDIA-A100-SXM4-40GB", gpus=2, capacity={"nvidia.com/mig-7g.40gb": 1}, dcgm_generation="legacy"
    )
    families = page(cut)
    empty = {name for name, each in families.items() for sample in each.samples if sample.labels["gpu"] == "1"}
    assert empty >= theirs.keys() - {"DCGM_FI_DEV_XID_ERRORS"}
    assert not empty & {UTIL, USED}


def test_the_newest_generation_has_the_new_names_units_and_labels() -> None:
    old, new = page(node(dcgm_generation="legacy"), pod()), page(node(), pod())
    assert len([each for each in FIELDS if each.new]) == 24  # 22 renamed besides a label, one new, SM_ACTIVE
    for field in FIELDS:
        if field.kind == "counter" and field.key in ("energy",):
            continue
        if field.only_new or field.key == "xid":
            continue
        before = [sample.value for sample in old[field.old].samples]
        after = [sample.value for sample in new[field.new or field.old].samples]
        assert after == pytest.approx([value * field.factor for value in before], abs=1e-5), field.old
    labels = new["DCGM_FI_DEV_GPU_UTIL_RATIO"].samples[0].labels
    assert {"hostname", "DCGM_FI_SYSTEM_DRIVER_VERSION"} <= labels.keys() and "Hostname" not in labels
    assert "DCGM_FI_DEV_FB_CAPACITY_BYTES" in new and "DCGM_FI_DEV_FB_TOTAL" not in old


@pytest.mark.parametrize(
    ("tag", "host", "renamed"),
    [("4.2.3-4.1.3", "Hostname", False), ("4.6.0-4.8.3", "hostname", False), ("4.7.0-4.9.0", "hostname", True)],
)
def test_the_version_of_the_exporters_image_says_what_it_writes(tag: str, host: str, renamed: bool) -> None:
    families = page(node(), by=exporter_pod(f"dcgm-exporter:{tag}-ubuntu22.04"))
    name = "DCGM_FI_DEV_GPU_UTIL_RATIO" if renamed else UTIL
    assert families[name].samples[0].labels[host] == "n"
    forced = page(node(dcgm_generation="current"), by=exporter_pod())
    assert "DCGM_FI_DEV_GPU_UTIL_RATIO" in forced


# ---- who holds what


def test_pods_hold_as_many_devices_as_they_ask_for_and_keep_them() -> None:
    first, second = pod("a", amount=3), pod("b", amount=2, created="2026-11-24T12:00:00Z")
    early = seen(node(), first, second)
    families = parse(dcgm.page(early).at(T0))
    held = {pod: len(found) for pod, found in by_pod(families, "DCGM_FI_DEV_GPU_UTIL_RATIO").items()}
    assert held == {"a": 3, "b": 2, "": 3}
    later = seen(node(), second, pod("c", amount=4, created="2026-11-24T13:00:00Z"), at=T0 + 5, before=early)
    assert later.given["uid-b/main/nvidia.com/gpu"] == early.given["uid-b/main/nvidia.com/gpu"] == ((3, 0), (4, 0))
    assert later.given["uid-c/main/nvidia.com/gpu"] == ((0, 0), (1, 0), (2, 0), (5, 0))


def test_more_than_there_is_is_not_given_and_what_has_ended_holds_nothing() -> None:
    families = page(node(), pod("a", amount=6), pod("b", amount=6), pod("c", amount=1, phase="Succeeded"))
    assert {pod: len(found) for pod, found in by_pod(families, "DCGM_FI_DEV_GPU_UTIL_RATIO").items()} == {
        "a": 6,
        "b": 2,
    }


def test_mig_pods_hold_instances_of_their_profile() -> None:
    cut = node(product="NVIDIA-A100-SXM4-80GB", capacity={"nvidia.com/gpu": 0, **MIXED}, dcgm_generation="legacy")
    families = page(cut, pod("a", "nvidia.com/mig-3g.40gb", 2, gpu_utilisation="0.5"), pod("b"))
    held = [sample.labels for sample in families[USE].samples if sample.labels.get("pod") == "a"]
    assert [each["GPU_I_PROFILE"] for each in held] == ["3g.40gb"] * 2
    assert len({(each["UUID"], each["GPU_I_ID"]) for each in held}) == 2
    assert "b" not in by_pod(families, USE)  # there is no whole GPU
    every = Counter(sample.labels["GPU_I_PROFILE"] for sample in families[USE].samples)
    assert every == {"1g.10gb": 16, "2g.20gb": 8, "3g.40gb": 8}
    assert len({tuple(sorted(sample.labels.items())) for sample in families[USE].samples}) == 32
    assert len({sample.labels["UUID"] for sample in families[USE].samples}) == 8  # of the GPUs


def test_the_single_strategy_means_instances_by_the_name_of_gpus() -> None:
    cut = node(
        product="NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", gpus=14, capacity={"nvidia.com/gpu": 14}, dcgm_generation="legacy"
    )
    families = page(cut, pod("a", amount=2))
    held = [sample.labels for sample in families[USE].samples if sample.labels.get("pod") == "a"]
    assert [(each["gpu"], each["GPU_I_PROFILE"]) for each in held] == [("0", "1g.10gb")] * 2
    assert {sample.labels["gpu"] for sample in families[USE].samples} == {"0", "1"}
    assert {sample.labels["modelName"] for sample in families[USE].samples} == {"NVIDIA A100-SXM4-80GB"}


def shared_node(**annotations: str) -> Obj:
    return node(product="NVIDIA-L4-SHARED", gpus=1, capacity={"nvidia.com/gpu": 4},
                labels={"nvidia.com/gpu.replicas": "4"}, **annotations)  # fmt: skip


def test_of_pods_that_share_a_gpu_one_is_named_unless_the_exporter_knows_of_shares() -> None:
    pods = [pod(each, gpu_utilisation="0.3", gpu_memory="0.2") for each in "ab"]
    plain = page(shared_node(), *pods, by=exporter_pod())
    assert by_pod(plain, UTIL) == {"b": [60.0]}
    told = page(shared_node(), *pods, by=exporter_pod(KUBERNETES_VIRTUAL_GPUS="true"))
    assert by_pod(told, UTIL) == {"a": [60.0], "b": [60.0]}
    assert [each.labels["vgpu"] for each in told[POWER].samples] == ["0", "1"]
    newer = page(shared_node(), *pods, by=exporter_pod("dcgm-exporter:4.6.0-4.8.3", KUBERNETES_VIRTUAL_GPUS="true"))
    assert by_pod(newer, UTIL) == {"": [60.0], "a": [30.0], "b": [30.0]}
    assert by_pod(newer, USED)[""][0] == pytest.approx(sum(sum(by_pod(newer, USED)[each]) for each in "ab"), abs=1)
    assert by_pod(newer, POWER).keys() == {"a", "b"}  # all but use and memory is copied


def test_shares_are_spread_over_the_gpus_first() -> None:
    obj = node(product="NVIDIA-L4-SHARED", gpus=2, capacity={"nvidia.com/gpu.shared": 8},
               labels={"nvidia.com/gpu.replicas": "4"}, dcgm_generation="legacy")  # fmt: skip
    families = page(obj, pod("a", "nvidia.com/gpu.shared"), pod("b", "nvidia.com/gpu.shared"))
    assert {sample.labels["gpu"]: sample.labels["pod"] for sample in families[POWER].samples} == {"0": "a", "1": "b"}


# ---- values


def test_idle_and_busy_cards_differ_in_everything_that_shows_use() -> None:
    families = page(node(gpus=2, dcgm_generation="legacy"), pod(gpu_utilisation="0.9"))
    for name in (USE, UTIL, USED, POWER, "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_SM_CLOCK", "DCGM_FI_PROF_SM_ACTIVE"):
        busy, idle = (sample.value for sample in families[name].samples)
        assert busy > idle, name
    assert by_pod(families, UTIL) == {"p": [90.0], "": [0.0]}


@pytest.mark.parametrize("said", ["", "nan", "-1", "2", "lots"])
def test_what_is_no_utilisation_counts_as_the_usual_one(said: str) -> None:
    assert by_pod(page(node(dcgm_generation="legacy"), pod(gpu_utilisation=said)), UTIL)["p"] == [70.0]


def test_a_pod_that_does_not_run_holds_its_device_idle() -> None:
    waiting = pod("w")
    waiting["status"]["containerStatuses"] = [{"name": "main", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    families = page(node(dcgm_generation="legacy"), waiting, pod("q", phase="Pending"))
    assert by_pod(families, UTIL) == {"w": [0.0], "q": [0.0], "": [0.0] * 6}


uses = st.lists(st.floats(0, 1), min_size=0, max_size=8)


@settings(deadline=None)
@given(uses)
def test_use_memory_and_power_add_up(said: list[float]) -> None:
    pods = [pod(f"p{index}", gpu_utilisation=repr(use)) for index, use in enumerate(said)]
    families = page(node(dcgm_generation="legacy"), *pods)
    value = {name: [sample.value for sample in family.samples] for name, family in families.items()}
    assert sum(value[USE]) == pytest.approx(sum(said), abs=1e-5)
    for index in range(8):
        sm, tensor, dram = (value[f"DCGM_FI_PROF_{each}_ACTIVE"][index] for each in ("SM", "PIPE_TENSOR", "DRAM"))
        assert tensor <= sm <= value[USE][index] <= 1 and dram <= value[USE][index]
        assert abs(value[UTIL][index] / 100 - value[USE][index]) <= 0.0051
        assert sum(value[f"DCGM_FI_DEV_FB_{each}"][index] for each in ("FREE", "USED", "RESERVED")) == 81559
        assert 70 <= value[POWER][index] <= 700


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(MIXED)), max_size=12), st.floats(0, 1))
def test_a_cut_card_draws_power_for_the_share_of_it_that_is_in_use(wanted: list[str], use: float) -> None:
    cut = node(product="NVIDIA-A100-SXM4-80GB", capacity={"nvidia.com/gpu": 0, **MIXED}, dcgm_generation="legacy")
    found = seen(cut, *(pod(f"p{index}", each, gpu_utilisation=repr(use)) for index, each in enumerate(wanted)))
    slices = sum(int(each.removeprefix("nvidia.com/mig-")[0]) for each in wanted)
    held = sum(len(slots) for slots in found.given.values())
    assert held == len(wanted) or max(Counter(wanted).values()) > 8
    if held == len(wanted):
        assert sum(gpu.use for gpu in found.gpus) * 7 == pytest.approx(slices * use)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1), st.sampled_from(["", "0:hot", "0:capped"])), max_size=6))
def test_counters_never_fall_whatever_changes(steps: list[tuple[float, float, str]]) -> None:
    now, state, last = T0, None, None
    for pause, use, said in steps:
        obj = node(gpus=1, dcgm_generation="legacy", gpu_telemetry=said)
        state = seen(obj, *([pod(gpu_utilisation=repr(use))] if use > 0.2 else []), at=now, before=state)
        for moment in (now, now + pause / 2, now + pause):
            families = parse(dcgm.page(state).at(moment))
            shown = [each.value for family in families.values() if family.kind == "counter" for each in family.samples]
            nvlink = families["DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL"].samples[0].value  # a rate in spite of its type
            shown.remove(nvlink)
            assert last is None or all(new >= old for new, old in zip(shown, last, strict=True))
            last = shown
        now += pause


def test_energy_is_the_integral_of_power() -> None:
    state = seen(node(gpus=1, dcgm_generation="legacy"), pod(gpu_utilisation="1"))
    early, late = (parse(dcgm.page(state).at(T0 + each))[ENERGY].samples[0].value for each in (0, 100))
    assert late - early == pytest.approx(100_000 * parse(dcgm.page(state).at(T0))[POWER].samples[0].value)
    after = seen(node(gpus=1, dcgm_generation="legacy"), at=T0 + 100, before=state)
    assert parse(dcgm.page(after).at(T0 + 100))[ENERGY].samples[0].value == late


def test_the_same_objects_and_time_give_the_same_bytes_in_any_order() -> None:
    pods = [pod(each, amount=2) for each in "abc"]
    ours = {dcgm.page(seen(node(), *order)).at(T0 + 7) for order in (pods, pods[::-1])}
    assert len(ours) == 1
    assert dcgm.gpu_uuid("n", 0) == dcgm.gpu_uuid("n", 0) != dcgm.gpu_uuid("n", 1)


# ---- faults


def test_an_xid_is_a_series_of_its_own() -> None:
    assert "DCGM_FI_DEV_XID_ERRORS" not in page(node(dcgm_generation="legacy"))
    found = page(node(dcgm_generation="legacy", gpu_telemetry="3:xid=79 nonsense 9: 1:glow"))["DCGM_FI_DEV_XID_ERRORS"]
    (sample,) = found.samples
    assert sample.value == 79 and sample.labels["gpu"] == "3"
    assert (sample.labels["err_code"], sample.labels["err_msg"]) == ("79", "GPU has fallen off the bus")


def test_a_lost_gpu_has_no_series_and_others_show_what_ails_them() -> None:
    families = page(node(dcgm_generation="legacy", gpu_telemetry="0:lost 1:hot 2:ecc=2,remap-failed 3:remap-pending"))
    by_gpu = {
        name: {sample.labels["gpu"]: sample.value for sample in family.samples} for name, family in families.items()
    }
    assert "0" not in by_gpu[UTIL] and len(by_gpu[UTIL]) == 7
    assert by_gpu["DCGM_FI_DEV_GPU_TEMP"]["1"] > 85 > by_gpu["DCGM_FI_DEV_GPU_TEMP"]["2"]
    assert by_gpu["DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"]["2"] == 2 and by_gpu["DCGM_FI_DEV_ROW_REMAP_FAILURE"]["2"] == 1
    assert by_gpu["DCGM_FI_DEV_ROW_REMAP_PENDING"]["3"] == 1


# ---- nodes that lie

hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(hostile, hostile, hostile)
def test_no_shape_of_node_or_pod_raises(labels: object, capacity: object, spec: object) -> None:
    obj = {"metadata": {"name": "n", "labels": labels}, "status": {"capacity": capacity}}
    parse(dcgm.page(seen(obj, {"metadata": {}, "spec": spec, "status": labels})).at(T0))


@given(
    st.dictionaries(
        st.sampled_from(["nvidia.com/gpu", "nvidia.com/gpu.shared", *MIXED, "nvidia.com/mig-9g.1gb"]),
        st.integers(0, 70),
        max_size=4,
    ),
    st.sampled_from(["NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-SXM4-80GB-MIG-2g.20gb", "NVIDIA-L4", "Strange", ""]),
    st.integers(0, 16),
)
@settings(deadline=None)
def test_every_capacity_gives_devices_that_are_told_apart(capacity: dict[str, int], product: str, gpus_: int) -> None:
    found = inventory(node(product=product, gpus=gpus_, capacity=capacity or {"cpu": 1}))
    identities = [(each.gpu, each.instance) for each in found.devices]
    assert len(identities) == len(set(identities))
    assert all(each.gpu < found.gpus for each in found.devices)


def test_the_annotation_of_the_labs_nodes_is_enough() -> None:
    obj = {"metadata": {"name": "n", "annotations": {"lab.plimsoll.dev/gpu": "H100-SXM5-80GBx8"}}}
    found = inventory(obj)
    assert (found.gpus, found.memory_mib, len(found.devices)) == (8, 81559, 8)


def test_idle_cards_are_not_all_just_as_warm() -> None:
    assert len({sample.value for sample in page(node())["DCGM_FI_DEV_GPU_TEMP_CELSIUS"].samples}) > 1
    assert gpus.device_use(()) == 0
