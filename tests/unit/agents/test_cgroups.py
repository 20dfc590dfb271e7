"""Of which pod a process is: every way in which kubelets and runtimes name cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.agents.meter.cgroups import Owner, Processes, owner

UID = "5f9d3c1e-0a4b-4c3d-9e2f-1234567890ab"
SLICE = UID.replace("-", "_")
ID = "0123456789abcdef" * 4
OTHER, OTHER_UID = "f" * 64, "11111111-2222-3333-4444-555555555555"
POD, BURST = f"kubepods-pod{SLICE}.slice", f"kubepods-burstable-pod{SLICE}.slice"
SCOPE = f"cri-containerd-{ID}.scope"
PATHS = {
    "v2, systemd, containerd": f"0::/kubepods.slice/kubepods-burstable.slice/{BURST}/{SCOPE}",
    "v2, systemd, guaranteed": f"0::/kubepods.slice/{POD}/{SCOPE}",
    "v2, systemd, cri-o": f"0::/kubepods.slice/kubepods-burstable.slice/{BURST}/crio-{ID}.scope",
    "v2, systemd, cri-o with crun": f"0::/kubepods.slice/{POD}/crio-{ID}.scope/container",
    "v2, systemd, docker": f"0::/kubepods.slice/{POD}/docker-{ID}.scope",
    "v2, cgroupfs": f"0::/kubepods/burstable/pod{UID}/{ID}",
    "v2, cgroupfs, guaranteed": f"0::/kubepods/pod{UID}/{ID}",
    "v2, seen from another pod's namespace": f"0::/../../{BURST}/{SCOPE}",
    "v2, seen from a sibling in cgroupfs": f"0::/../../pod{UID}/{ID}",
    "v2, kubelet in a container": f"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-{POD}/{SCOPE}",
    "v1, cgroupfs": f"11:memory:/kubepods/besteffort/pod{UID}/{ID}\n1:name=systemd:/x",
    "v1, runtime without systemd": f"7:devices:/system.slice/containerd.service/{BURST}:cri-containerd:{ID}",
    "hybrid, the unified one is empty": f"0::/\n4:memory:/kubepods.slice/{POD}/{SCOPE}",
    "a runtime in the container": f"0::/kubepods/pod{UID}/{ID}/system.slice/docker-{OTHER}.scope",
    "a cluster in the container": f"0::/kubepods/pod{UID}/{ID}/kubepods/pod{OTHER_UID}/{OTHER}",
    "systemd in the container": f"0::/kubepods.slice/{POD}/{SCOPE}/init.scope",
}


@pytest.mark.parametrize("name", PATHS)
def test_a_container_and_its_pod(name: str) -> None:
    assert owner(PATHS[name]) == Owner(UID, ID)


def test_a_static_pod_is_named_by_the_hash_of_its_manifest() -> None:
    assert owner(f"0::/kubepods/pod{ID[:32]}/{ID}") == Owner(ID[:32], ID)


def test_a_process_of_the_pod_and_of_no_container() -> None:
    assert owner(f"0::/kubepods/pod{UID}") == Owner(UID, "")
    assert owner(f"0::/kubepods/pod{UID}/sandbox/x") == Owner(UID, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0::/",
        "0::/system.slice/kubelet.service",
        "0::/user.slice/user-0.slice/session-1.scope",
        f"0::/system.slice/docker-{ID}.scope",
        "0::/kubepods.slice/kubepods-burstable.slice",
        f"0::/machine.slice/libpod-{ID}.scope",  # podman's
        f"0::/kubepods/pod{UID}x/{ID}",
        f"0::/kubepods/pod{UID[:-1]}/{ID}",
        "no cgroup at all",
    ],
)
def test_a_process_of_the_node(text: str) -> None:
    assert owner(text) is None


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    found = owner(text)
    assert found is None or len(found.pod) in (32, 36)


def procfs(root: Path, kernel: str = "kthreadd") -> Processes:
    (root / "2").mkdir(parents=True)
    (root / "2" / "stat").write_text(f"2 ({kernel}) S 0 0 0 0 -1 2129984 0\n")
    return Processes(root)


def test_numbers_are_the_nodes_where_its_kernel_is_seen(tmp_path: Path) -> None:
    assert procfs(tmp_path / "node").visible()
    assert not procfs(tmp_path / "pod", "python3").visible()  # the pod's own second process
    assert not Processes(tmp_path / "nothing").visible()


def test_a_process_and_one_that_ended(tmp_path: Path) -> None:
    seen = procfs(tmp_path)
    (tmp_path / "4711").mkdir()
    (tmp_path / "4711" / "cgroup").write_text(PATHS["v2, cgroupfs"] + "\n")
    assert seen.owner(4711) == Owner(UID, ID)
    assert seen.owner(4712) is None


def test_a_file_of_rubbish_and_of_any_length(tmp_path: Path) -> None:
    seen = procfs(tmp_path)
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "cgroup").write_bytes(b"\xff\x00" * (1 << 20) + PATHS["v2, cgroupfs"].encode())
    assert seen.owner(3) is None


def test_this_very_process_is_read() -> None:
    assert Processes().owner(os.getpid()) == owner(Path("/proc/self/cgroup").read_text())
