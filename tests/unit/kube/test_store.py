"""Our own file: what is saved comes back, whole or not at all."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from plimsoll.kube.redact import redacted
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread
from plimsoll.kube.store import open_snapshot, save

LAB = Path(__file__).parents[3] / "examples" / "lab"
TAKEN = datetime(2026, 11, 24, 11, 0, tzinfo=UTC)


def snapshot(*objects: Obj, taken_at: datetime | None = TAKEN) -> Snapshot:
    return Snapshot(
        objects,
        source=Source("live", "prod", "recorded" if taken_at else "unknown"),
        taken_at=taken_at,
        coverage={kinds.POD: Coverage.WHOLE, kinds.NODE: Coverage.PARTIAL},
        unread=[Unread(kinds.EVENT, "forbidden")],
    )


def pod(name: str, **spec: object) -> Obj:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "a"}, "spec": dict(spec)}


def test_what_is_known_about_a_snapshot_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "cluster.plimsoll"
    save(snapshot(pod("x")), path)
    again = open_snapshot(path)
    assert (again.source, again.taken_at, again.unread) == (
        Source("live", "prod", "recorded"),
        TAKEN,
        (Unread(kinds.EVENT, "forbidden"),),
    )
    assert {kind: again.coverage(kind) for kind in (kinds.POD, kinds.NODE, kinds.EVENT)} == {
        kinds.POD: Coverage.WHOLE,
        kinds.NODE: Coverage.PARTIAL,
        kinds.EVENT: Coverage.UNREAD,
    }


def test_a_recorded_cluster_comes_back(tmp_path: Path) -> None:
    """Save and open: equal objects, but for what `save` leaves out on purpose; again: nothing more is left out."""
    first, second = tmp_path / "first", tmp_path / "second"
    recorded = open_snapshot(LAB / "healthy.json.gz")
    save(recorded, first)
    once = open_snapshot(first)
    assert once.counts() == recorded.counts()
    assert once.taken_at == recorded.taken_at
    assert once.list(kinds.NODE) == recorded.list(kinds.NODE)
    save(once, second)
    assert list(open_snapshot(second)) == list(once)
    save(recorded, second)
    assert first.read_bytes() == second.read_bytes()  # equal snapshots, equal files


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=60),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4),
    max_leaves=12,
)
common = [{"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}, "same text"]


@settings(deadline=None, max_examples=60)
@given(specs=st.lists(st.dictionaries(st.text(max_size=8), values | st.sampled_from(common), max_size=5), max_size=6))
def test_objects_of_any_shape_come_back(tmp_path_factory: pytest.TempPathFactory, specs: list[Obj]) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    objects: list[Obj] = [
        {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": f"n{i}"}, "spec": spec, "data": spec}
        for i, spec in enumerate(specs)
    ]
    save(snapshot(*objects), path)
    saved = {obj["metadata"]["name"]: obj for obj in open_snapshot(path)}
    assert saved == {obj["metadata"]["name"]: redacted(obj) for obj in objects}


def test_the_file_is_for_its_owner_only_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "cluster.plimsoll"
    path.write_text("an older file")
    save(snapshot(pod("x")), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["cluster.plimsoll"]  # noqa: PTH208


def test_a_failed_save_keeps_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "cluster.plimsoll"
    save(snapshot(pod("x")), path)
    older = path.read_bytes()
    bad = snapshot(pod("y", thing=object()))
    with pytest.raises(TypeError):
        save(bad, path)
    assert path.read_bytes() == older
    assert [each.name for each in tmp_path.iterdir()] == ["cluster.plimsoll"]


def test_a_folder_that_does_not_exist_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write the snapshot"):
        save(snapshot(pod("x")), tmp_path / "none" / "file")


def test_every_cut_is_seen(tmp_path: Path) -> None:
    """Neither a file cut anywhere nor a stream that ends early is taken for a smaller cluster."""
    path, cut = tmp_path / "whole", tmp_path / "cut"
    save(snapshot(*(pod(f"p{i}", image="x" * i) for i in range(200))), path)
    content = path.read_bytes()
    for end in [*range(1, 60), *range(60, len(content), 97), len(content) - 1]:
        cut.write_bytes(content[:end])
        with pytest.raises(InputError):
            open_snapshot(cut)
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(content).splitlines(keepends=True)
    for kept in (1, 2, len(lines) // 2, len(lines) - 1):
        cut.write_bytes(zstandard.compress(b"".join(lines[:kept])))
        with pytest.raises(InputError, match="cut short"):
            open_snapshot(cut)


def test_a_file_of_several_frames_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "two.zst"
    manifest = b"apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\n"
    path.write_bytes(zstandard.compress(manifest % b"a") + zstandard.compress(manifest % b"b"))
    assert open_snapshot(path).counts() == {"Namespace": 2}


def test_equal_parts_are_one_value_in_memory(tmp_path: Path) -> None:
    """What 100,000 pods of one template share must not be there 100,000 times."""
    containers = [{"name": "train", "image": "registry.example.com/train:1", "args": ["--epochs", "3"] * 20}]
    path = tmp_path / "file"
    save(snapshot(*(pod(f"p{i}", containers=msgspec.json.decode(msgspec.json.encode(containers)))
                    for i in range(3))), path)  # fmt: skip
    first, *others = open_snapshot(path).list(kinds.POD)
    assert first["spec"]["containers"] == containers
    assert all(other["spec"]["containers"] is first["spec"]["containers"] for other in others)


def test_the_random_name_of_the_token_volume_goes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    save(snapshot(pod("x", volumes=[{"name": "kube-api-access-x7k2p", "projected": {}}])), path)
    (read,) = open_snapshot(path).list(kinds.POD)
    assert read["spec"]["volumes"][0]["name"] == "kube-api-access"
