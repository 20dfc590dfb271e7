"""GPUs read from their driver: NVIDIA's own bindings, over a library that answers as real ones were seen to."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pynvml  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.agents.meter.cgroups import Processes
from plimsoll.agents.meter.driver import Away, open_driver
from plimsoll.agents.meter.inventory import Gpu, Instance
from plimsoll.agents.meter.nvml import Devices
from plimsoll.agents.meter.podresources import Held
from plimsoll.agents.meter.reading import Pod, Reading, Share
from plimsoll.cost.sample import parts as parts_of
from plimsoll.errors import IncompleteError
from tests.recorded import shared
from tests.unit.agents import libnvml
from tests.unit.agents.libnvml import MIB, Card, Library, Part, put, recorded

A, B = "GPU-b4895dbf-9350-2524-a89b-98161ddd9fe4", "GPU-5a3ad8a4-5a77-4a6b-9d5f-0a5a3d1f0c11"
UIDS = {f"{n}f9d3c1e-0a4b-4c3d-9e2f-1234567890ab": ("team", f"pod-{n}") for n in range(1, 6)}
Setup = Callable[..., "Node"]


class Node:
    """A node with a library, and processes that belong to pods: pods 1 to 5 by number of the process."""

    def __init__(self, root: Path, library: Library, pods: dict[int, int], *, host_pid: bool = True) -> None:
        self.library, self.said = library, list[str]()
        (root / "2").mkdir(parents=True)
        (root / "2" / "stat").write_text(f"2 ({'kthreadd' if host_pid else 'python3'}) S 0 0 0")
        for pid, number in pods.items():
            (root / str(pid)).mkdir()
            uid = next(uid for uid in UIDS if uid.startswith(str(number))) if number else ""
            path = f"/kubepods/burstable/pod{uid}/{'a' * 64}" if number else "/system.slice/nvidia-persistenced.service"
            (root / str(pid) / "cgroup").write_text(f"0::{path}\n")
        self.devices = Devices("n1", self.said.append, processes=Processes(root))

    def read(self, *held: Held) -> list[Reading]:
        return self.devices.read(UIDS.get, held)


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    def make(*cards: Card, pods: dict[int, int] | None = None, host_pid: bool = True) -> Node:
        library = Library(*cards)
        put(monkeypatch, library)
        return Node(tmp_path / "proc", library, pods or {}, host_pid=host_pid)

    return make


def held(device: str, number: int, *, resource: str = "nvidia.com/gpu", claim: str = "") -> Held:
    return Held(namespace="team", pod=f"pod-{number}", container="c", resource=resource, device=device, claim=claim)


def pod(number: int) -> Pod:
    return ("team", f"pod-{number}")


# Whole GPUs


def test_a_gpu_with_counters_is_read_over_the_time_between_two_rounds(setup: Setup) -> None:
    card = Card(A, used=1000 * MIB, reserved=600 * MIB, milliwatts=612_345, millijoules=5_000_250, util=100)
    node = setup(card)
    (first,) = node.read()
    assert first.busy is None  # the utilization of the moment is another measure
    card.percents = (87.5, 61.25, 40.0, 33.0)
    (second,) = node.read()
    assert second == Reading(
        node="n1", gpu=A, model="NVIDIA H100 80GB HBM3", busy=0.875, sm=0.6125, tensor=0.4, dram=0.33,
        watts=612.345, joules=5000.25, memory_mib=1000.0, memory_total_mib=81559.0,
    )  # fmt: skip
    assert node.devices.gpus == (Gpu(A, 0, 0, "NVIDIA H100 80GB HBM3"),)
    assert not node.said


def test_without_counters_there_is_the_utilization_of_whole_gpus(setup: Setup) -> None:
    (told,) = setup(Card(A, "Tesla T4", mig=None, percents=None, util=37)).read()
    assert (told.busy, told.sm, told.tensor, told.dram, told.cut) == (0.37, None, None, None, False)


def test_counters_that_may_not_be_read_leave_the_utilization(setup: Setup) -> None:
    node = setup(Card(A, util=37, fails={"nvmlGpmSampleGet": libnvml.NO_PERMISSION}))
    for _ in range(3):
        (told,) = node.read()
        assert told.busy == 0.37
    assert node.said == [f"{A}: the driver does not tell the counters: Insufficient Permissions (nvmlGpmSampleGet)"]
    assert node.library.samples == 0


def test_what_is_no_percentage_is_unknown(setup: Setup) -> None:
    card = Card(A)
    node = setup(card)
    node.read()
    card.percents = (math.nan, -3.0, 100.4, 1e9)
    (told,) = node.read()
    assert (told.busy, told.sm, told.tensor, told.dram) == (None, None, 1.0, None)


def test_samples_are_freed(setup: Setup) -> None:
    cards = [Card(A), Card(B, mig=True, parts=[Part(1, "MIG-1", "MIG 1g.10gb"), Part(2, "MIG-2", "MIG 1g.10gb")])]
    node = setup(*cards)
    for _ in range(20):
        node.read()
    assert node.library.samples == 3  # the last of each
    del cards[1].parts[0], node.library.cards[0]
    node.read()
    assert node.library.samples == 1
    node.devices.close()
    assert node.library.samples == 0


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("nvmlDeviceGetPowerUsage", "watts"),
        ("nvmlDeviceGetTotalEnergyConsumption", "joules"),
        ("nvmlGpmMetricsGet", "busy"),
    ],
)
@pytest.mark.parametrize(
    "code", [libnvml.NOT_SUPPORTED, libnvml.NO_PERMISSION, libnvml.UNKNOWN, libnvml.MISSING, 12345]
)
def test_what_a_driver_does_not_tell_is_unknown_and_said_once(
    setup: Setup, function: str, field: str, code: int
) -> None:
    node = setup(Card(A, percents=(50.0, 50.0, 50.0, 50.0)))
    node.library.fails[function] = code
    for _ in range(3):
        (told,) = node.read()
    assert getattr(told, field) is None or (field == "busy" and told.busy == 0.0)  # the utilization instead
    assert told.memory_total_mib == 81559.0
    assert len(node.said) == 1 and function in node.said[0]


def test_memory_of_a_driver_that_knows_only_its_first_version(setup: Setup) -> None:
    node = setup(Card(A, used=10 * MIB, reserved=5 * MIB))
    node.library.fails["nvmlDeviceGetMemoryInfo_v2"] = libnvml.MISSING
    (told,) = node.read()
    assert told.memory_mib == 15.0


# GPUs and drivers that go


def test_a_gpu_that_fell_off_the_bus_is_left_out_and_may_come_back(setup: Setup) -> None:
    lost, well = Card(A), Card(B, minor=1)
    node = setup(lost, well)
    assert [each.gpu for each in node.read()] == [A, B]
    lost.fails = dict.fromkeys(("nvmlDeviceGetUUID", "nvmlDeviceGetPowerUsage"), libnvml.LOST)
    for _ in range(3):
        assert [each.gpu for each in node.read()] == [B]
    assert [gpu.index for gpu in node.devices.gpus] == [1]
    assert node.said == ["GPU 0: left out: GPU is lost (nvmlDeviceGetUUID)"]
    lost.fails = {}
    assert [each.gpu for each in node.read()] == [A, B]
    lost.fails = {"nvmlDeviceGetUUID": libnvml.LOST}
    node.read()
    assert len(node.said) == 2


def test_a_gpu_that_goes_while_it_is_asked_is_left_out(setup: Setup) -> None:
    node = setup(Card(A, fails={"nvmlGpmSampleGet": libnvml.LOST}), Card(B))
    assert [each.gpu for each in node.read()] == [B]
    assert node.library.samples == 1


def test_a_driver_that_goes_and_comes_back(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    node = setup(Card(A))
    node.read()
    node.library.fails["nvmlDeviceGetCount_v2"] = libnvml.NOT_LOADED
    for _ in range(2):
        with pytest.raises(IncompleteError, match="Driver Not Loaded") as caught:
            node.read()
    assert caught.value.where == "n1"
    assert node.library.samples == 0
    node.library.fails.clear()
    assert [each.gpu for each in node.read()] == [A]


def test_a_driver_that_goes_while_it_is_asked_has_not_lost_its_gpus(setup: Setup) -> None:
    node = setup(Card(A, fails={"nvmlDeviceGetPowerUsage": libnvml.NOT_LOADED}), Card(B))
    with pytest.raises(IncompleteError, match="Driver Not Loaded"):
        node.read()
    assert not node.said


def test_no_driver_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "CDLL", absent)
    with pytest.raises(Away, match="NVML Shared Library Not Found"):
        open_driver()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(0, 60), st.sampled_from([2, 3, 4, 6, 13, 15, 16, 28, 999]), max_size=6))
def test_whatever_fails_there_are_readings_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, codes: dict[int, int]
) -> None:
    """Every function that is asked may fail, with any code, at any call."""
    cards = [Card(A, processes={11: MIB}, ran=[(11, 5, 50)]),
             Card(B, mig=True, parts=[Part(1, "MIG-1", "MIG 1g.10gb", processes={12: MIB})])]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        library = Library(*cards)
        put(patch, library)
        node = Node(tmp_path_factory.mktemp("n") / "proc", library, {11: 1, 12: 2})
        node.read()
        names = sorted(set(library.asked))
        for at, code in codes.items():
            library.fails[names[at % len(names)]] = code
        for _ in range(2):
            try:
                told = node.read(held(A, 1))
            except IncompleteError:
                continue
            assert all(each.gpu in (A, B) for each in told)
            assert all(value is None or 0 <= value <= 1 for each in told for value in (each.busy, each.sm))
        library.fails.clear()
        node.devices.close()


# MIG


def cut_card() -> Card:
    name, percents = "NVIDIA H100 80GB HBM3", (50.0, 30.0, 20.0, 10.0)
    return Card(
        B, name, 1, mig=True, milliwatts=300_000, millijoules=9000,
        parts=[
            Part(2, "MIG-a", f"{name} MIG 1c.3g.40gb", 100 * MIB, 40_000 * MIB, 3, 4, percents),
            Part(2, "MIG-b", f"{name} MIG 2c.3g.40gb", 100 * MIB, 40_000 * MIB, 3, 4, percents),
            Part(9, "MIG-c", f"{name} MIG 1g.10gb+me", 9 * MIB, 9_728 * MIB, 1, 0),
        ],
    )  # fmt: skip


def test_a_cut_gpu_and_its_instances(setup: Setup) -> None:
    node = setup(Card(A), cut_card())
    node.read()
    _, whole, three, one = node.read()
    assert (whole.cut, whole.instance, whole.busy, whole.watts) == (True, "", None, 300.0)
    assert three == Reading(
        node="n1", gpu=B, instance="2", profile="3g.40gb", model="NVIDIA H100 80GB HBM3", busy=0.5, sm=0.3, tensor=0.2,
        dram=0.1, watts=300.0, joules=9.0, memory_mib=100.0, memory_total_mib=40_000.0,
    )  # fmt: skip
    assert (one.instance, one.profile, one.busy) == ("9", "1g.10gb+me", 0.0)
    assert node.devices.gpus[1].instances == (
        Instance("2", "3g.40gb", ("MIG-a", "MIG-b"), 4), Instance("9", "1g.10gb+me", ("MIG-c",), 0),
    )  # fmt: skip
    assert not node.said
    assert "nvmlDeviceGetUtilizationRates" not in node.library.asked


def test_instances_without_counters_are_unknown_and_not_idle(setup: Setup) -> None:
    card = cut_card()
    card.percents = None
    node = setup(card)
    node.read()
    assert {each.busy for each in node.read()} == {None}


def test_a_number_that_another_instance_got_is_not_compared_with_the_one_before(setup: Setup) -> None:
    card = cut_card()
    node = setup(card)
    node.read()
    card.parts[2] = Part(9, "MIG-d", "NVIDIA H100 80GB HBM3 MIG 2g.20gb", percents=(99.0, 99.0, 99.0, 99.0))
    assert [each.busy for each in node.read() if each.instance == "9"] == [None]
    assert [each.busy for each in node.read() if each.instance == "9"] == [0.99]


def test_a_profile_that_the_name_does_not_tell(setup: Setup) -> None:
    card = cut_card()
    for part in card.parts:
        part.name = card.name
    node = setup(card)
    assert [each.profile for each in node.read()] == ["", "3g.40gb", "1g.10gb"]


def test_where_instances_begin_may_be_kept_secret(setup: Setup) -> None:
    node = setup(cut_card())
    node.library.fails["nvmlDeviceGetGpuInstanceById"] = libnvml.NO_PERMISSION
    node.read()
    assert [each.start for each in node.devices.gpus[0].instances] == [None, None]
    assert not node.said


def test_memory_of_processes_on_instances(setup: Setup) -> None:
    card = cut_card()
    card.parts[0].processes, card.parts[1].processes = {11: 100 * MIB}, {12: 50 * MIB, 13: 25 * MIB}
    node = setup(card, pods={11: 1, 12: 2, 13: 2})
    three = next(each for each in node.read() if each.instance == "2")
    assert three.shares == (Share(pod(1), None, 100.0), Share(pod(2), None, 75.0))


# Who did what on a shared GPU


def shared_card() -> Card:
    return Card(A, percents=(90.0, 50.0, 0.0, 0.0), processes={11: 100 * MIB, 12: 50 * MIB, 13: 7 * MIB})


def test_sharers_by_what_was_measured(setup: Setup) -> None:
    card = shared_card()
    node = setup(card, pods={11: 1, 12: 2, 13: 2})
    card.ran = [(11, 100, 90), (12, 100, 1)]  # before the first round
    assert node.read()[0].shares == (Share(pod(1), None, 100.0), Share(pod(2), None, 57.0))
    card.ran = [(11, 200, 60), (12, 210, 20), (13, 190, 10)]
    assert node.read()[0].shares == (Share(pod(1), 0.6, 100.0), Share(pod(2), 0.3, 57.0))
    card.ran = [(11, 300, 80)]  # the others ran not at all
    assert node.read()[0].shares == (Share(pod(1), 0.8, 100.0), Share(pod(2), 0.0, 57.0))


def test_samples_that_are_old_or_rubbish_do_not_count(setup: Setup) -> None:
    card = shared_card()
    card.ran, card.repeats = [(11, 100, 90), (13, 90, 90)], True
    node = setup(card, pods={11: 1, 12: 2, 13: 2})
    node.read()
    card.ran += [(11, 200, 40), (11, 201, 60), (12, 150, 2_147_483_632), (0, 160, 30), (4_000_000_000, 1 << 63, 101)]
    assert [share.busy for share in node.read()[0].shares] == [0.5, 0.0]
    card.ran.append((12, 220, 30))
    assert [share.busy for share in node.read()[0].shares] == [0.0, 0.3]


def test_holders_without_a_process_did_nothing_and_others_are_no_sharers(setup: Setup) -> None:
    card = shared_card()
    card.clients = {14: 3 * MIB}  # of an MPS server
    node = setup(card, pods={11: 1, 12: 0, 13: 5, 14: 2})
    asked = [held(f"{A}::{n}", n, resource="nvidia.com/gpu.shared") for n in (1, 2, 3)]
    node.read(*asked)
    card.ran = [(11, 200, 60), (13, 200, 30)]
    (told,) = node.read(*asked)
    assert told.holders == (pod(1), pod(2), pod(3))
    assert told.shares == (Share(pod(1), 0.6, 100.0), Share(pod(2), 0.0, 3.0), Share(pod(3), 0.0, 0.0))


def test_a_holder_is_not_idle_because_nobody_knows_his_pod_yet(setup: Setup) -> None:
    card = shared_card()
    node = setup(card, pods={11: 1, 12: 2})
    asked = [held(f"{A}::{n}", n) for n in (1, 2)]
    late = {uid: name for uid, name in UIDS.items() if name != pod(2)}
    node.devices.read(late.get, asked)
    card.ran = [(11, 200, 30), (12, 200, 60)]
    assert node.devices.read(late.get, asked)[0].shares == (Share(pod(1), 0.3, 100.0),)


def test_holders_who_seem_idle_on_a_busy_gpu_were_not_seen(setup: Setup) -> None:
    """So it is where work is done through a daemon: its pod has all the time, and holds nothing."""
    card = shared_card()
    node = setup(card, pods={11: 5, 12: 1, 13: 2})
    asked = [held(f"{A}::{n}", n) for n in (1, 2)]
    node.read(*asked)
    card.ran = [(11, 200, 90)]
    assert [share.busy for share in node.read(*asked)[0].shares] == [None, None]
    card.percents = (0.0, 0.0, 0.0, 0.0)
    assert [share.busy for share in node.read(*asked)[0].shares] == [0.0, 0.0]


def test_without_host_pid_nothing_is_known_of_processes(setup: Setup) -> None:
    card = shared_card()
    node = setup(card, pods={11: 1, 12: 2, 13: 2}, host_pid=False)  # numbers of other processes
    node.read(held(A, 1))
    card.ran = [(11, 200, 60)]
    for _ in range(2):
        (told,) = node.read(held(A, 1))
        assert told.shares == () and told.holders == (pod(1),)
    assert len(node.said) == 1 and "hostPID" in node.said[0]


def test_memory_of_a_process_that_is_not_told(setup: Setup) -> None:
    card = shared_card()
    card.processes = {11: None, 12: 5 * MIB}
    node = setup(card, pods={11: 1, 12: 2})
    assert [share.memory_mib for share in node.read()[0].shares] == [None, 5.0]


def test_a_process_that_ended_a_pod_that_is_unknown_and_no_pod(setup: Setup) -> None:
    node = setup(shared_card(), pods={12: 0})
    assert node.read()[0].shares == ()


@pytest.mark.parametrize(
    ("device", "holds"),
    [
        (held(A, 1), [(A, "")]),
        (held("nvidia1/gi9/vgpu0", 1), [(B, "9")]),
        (held("gpu-1-mig-3g40gb-9-4", 1, resource="gpu.nvidia.com", claim="team/c"), [(B, "2")]),
        (held("gpu-0", 1, resource="gpu.nvidia.com", claim="team/c"), [(A, "")]),
        (held("gpu-0", 1, resource="gpu.other.com", claim="team/c"), []),
        (held("mlx5_0", 1, resource="rdma/hca"), []),
    ],
)
def test_who_holds_what_as_the_kubelet_says(setup: Setup, device: Held, holds: list[tuple[str, str]]) -> None:
    node = setup(Card(A), cut_card())
    assert [each.device for each in node.read(device, device) if each.holders == (pod(1),)] == holds


# Recordings


@pytest.mark.parametrize("state", ["idle", "load"])
@pytest.mark.parametrize(
    ("name", "sku", "profiles"),
    [
        ("nvidia-h100-80gb-hbm3", "H100-SXM-80GB", []),
        ("nvidia-h200", "H200-SXM-141GB", []),
        ("nvidia-h200-mig", "H200-SXM-141GB", ["3g.71gb", "2g.35gb", "1g.18gb", "1g.18gb"]),
    ],
)
def test_recorded_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sku: str, profiles: list[str], state: str
) -> None:
    path = shared(f"real/nvidia-smi/capture_linux-x86_64__{name}__590.48.01.txt")
    library = recorded(path, state)
    put(monkeypatch, library)
    (card,) = library.cards
    pids = sorted({*card.processes, *(pid for part in card.parts for pid in part.processes)})
    node = Node(tmp_path / "proc", library, {pid: at + 1 for at, pid in enumerate(pids)})
    ran, card.ran = card.ran, []
    node.read()
    card.ran = ran
    whole, *instances = node.read()
    assert (whole.cut, whole.memory_mib, whole.watts) == (bool(profiles), card.used / MIB, card.milliwatts / 1000)
    assert [each.profile for each in instances] == profiles
    assert len({each.device for each in instances}) == len(profiles)  # two MIG devices are of one instance
    assert all(parts_of(sku, each.profile) for each in instances)
    if profiles:
        assert sum(each.memory_mib or 0 for each in instances) == pytest.approx(whole.memory_mib, abs=4)  # each rounded
        # Drivers name the instance so too, by its slices and memory.
        for part, slices in zip(card.parts, (3, 3, 2, 1, 1), strict=True):
            part.name, part.slices = card.name, slices
        assert [each.profile for each in node.read()[1:]] == profiles
    shares = [share for each in (whole, *instances) for share in each.shares]
    assert len(shares) == (3 if state == "load" else 0)
    if state == "load" and not profiles:
        assert whole.shares[-1].busy == pytest.approx(0.95 if "h200" in name else 0.99)  # gpu_burn, of five samples
