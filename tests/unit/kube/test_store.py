"""Our own file: what is saved comes back, whole or not at all."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.check.run import Judgement, review
from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from plimsoll.kube.redact import redacted
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread
from plimsoll.kube.store import open_snapshot, save
from plimsoll.kube.unpack import Stream
from plimsoll.pillars import all_checks

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


@pytest.mark.parametrize("name", sorted(path.name for path in LAB.glob("*.json.gz")))
def test_a_saved_recording_is_judged_the_same(tmp_path: Path, name: str) -> None:
    recorded = open_snapshot(LAB / name)
    save(recorded, tmp_path / "saved")
    again = open_snapshot(tmp_path / "saved")
    assert {kind: again.coverage(kind) for kind in kinds.ALL} == {kind: recorded.coverage(kind) for kind in kinds.ALL}
    assert (again.taken_at, again.unread) == (recorded.taken_at, recorded.unread)
    first, second = review(recorded, all_checks()), review(again, all_checks())
    assert second.verdicts == first.verdicts
    assert [said(each) for each in second.judgements] == [said(each) for each in first.judgements]


def said(each: Judgement) -> tuple[object, ...]:
    """What a judgement says, but for the random name that `save` leaves out."""
    evidence = [(seen.path, "kube-api-access" in str(seen.value) or seen.value) for seen in each.finding.evidence]
    finding = msgspec.structs.replace(each.finding, evidence=())
    return each.check.id, finding, evidence, each.root_cause, each.hidden_behind


def lines_of(path: Path) -> list[bytes]:
    content = path.read_bytes()
    return list(Stream(io.BytesIO(content), len(content), str(path)).lines())


SECRETS = {
    "in an environment": pod("a", containers=[{"name": "c", "env": [{"name": "HF_TOKEN", "value": "s3cr3t-valve"}]}]),
    "in arguments": pod("b", containers=[{"name": "c", "args": ["--api-key=s3cr3t-valve"]}]),
    "in a Secret": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "d", "namespace": "a"},
                    "data": {"password": "s3cr3t-valve"}, "stringData": {"token": "s3cr3t-valve"}},
    "in the last applied": {"apiVersion": "v1", "kind": "Secret", "metadata": {
        "name": "e", "namespace": "a", "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": '{"data":{"x":"s3cr3t-valve"}}'}}},
    "in a setting": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "f", "namespace": "a"},
                     "data": {"app.yaml": "db_password: s3cr3t-valve\n", "DB_PASSWORD": "s3cr3t-valve"}},
}  # fmt: skip


def test_no_secret_is_in_the_bytes(tmp_path: Path) -> None:
    """Each of them many times, so that it would be a shared part as well."""
    path = tmp_path / "file"
    for what, obj in SECRETS.items():
        copies = [{**obj, "metadata": {**obj["metadata"], "name": f"n{number}"}} for number in range(120)]
        save(snapshot(*copies), path)
        text = b"\n".join(lines_of(path))
        assert b"n119" in text
        assert b"s3cr3t" not in text, what
        assert b"czNjcjN0" not in text, what


KILLED = """
import os, signal, sys
from pathlib import Path
from plimsoll.kube.store import open_snapshot, save
source, target, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
class Dying:
    def __init__(self, file):
        self.file, self.count = file, 0
    def __getattr__(self, name):
        return getattr(self.file, name)
    def __enter__(self):
        return self
    def __exit__(self, *how):
        self.file.close()
    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        die()
if moment == "writing":
    opened = os.fdopen
    os.fdopen = lambda *how: Dying(opened(*how))
elif moment == "syncing":
    os.fsync = die
else:
    Path.replace = die
save(open_snapshot(source), target)
"""


@pytest.mark.parametrize("moment", ["writing", "syncing", "naming"])
@pytest.mark.parametrize("older", [b"", b"an older file"])
def test_a_save_killed_at_any_moment_leaves_what_was_there(tmp_path: Path, moment: str, older: bytes) -> None:
    target = tmp_path / "cluster.plimsoll"
    if older:
        target.write_bytes(older)
    done = subprocess.run([sys.executable, "-c", KILLED, str(LAB / "healthy.json.gz"), str(target), moment])
    assert done.returncode == -signal.SIGKILL
    assert target.exists() == bool(older)
    assert not older or target.read_bytes() == older
    save(snapshot(pod("x")), target)  # what the killed one left behind is in nobody's way
    assert open_snapshot(target).counts() == {"Pod": 1}


@pytest.mark.parametrize("change", [
    lambda lines: [lines[0].replace(b"snapshot/v1", b"snapshot/v9"), *lines[1:]],
    lambda lines: [lines[0].replace(b'"objects":', b'"objects":1e9,"x":'), *lines[1:]],
    lambda lines: [lines[0].replace(b'"objects":', b'"objects":9'), *lines[1:]],
    lambda lines: [lines[0].replace(b'"shared":', b'"shared":9'), *lines[1:]],
    lambda lines: [lines[0].replace(b'"takenAt":', b'"takenAt":"soon","x":'), *lines[1:]],
    lambda lines: [lines[0].replace(b"+00:00", b"").replace(b"Z", b""), *lines[1:]],
    lambda lines: [lines[0].replace(b'"whole"', b'"half"'), *lines[1:]],
    lambda lines: [*lines, b"more"],
    lambda lines: [*lines[:-2], lines[-1]],
    lambda lines: [*lines[:-2], b"null", lines[-1]],
    lambda lines: [*lines[:-2], b"[1]", lines[-1]],
    lambda lines: [*lines[:-2], b'[{},0,{}]', lines[-1]],
    lambda lines: [*lines[:-2], b'[{"spec":1},0,{"spec":{"a":0}}]', lines[-1]],
    lambda lines: [*lines[:-2], b'[{"spec":"x"},0,{"spec":{"":0}}]', lines[-1]],
    lambda lines: [*lines[:-2], b'[{"spec":{}},0,{"spec":{"a":99999}}]', lines[-1]],
    lambda lines: [*lines[:-2], b'[{"spec":{}},99999,{}]', lines[-1]],
    lambda lines: [*lines[:-2], b'[{"spec":{}},-1,{"spec":{"a":-99999}}]', lines[-1]],
    lambda lines: [*lines[:-2], b'[{"apiVersion":"v1","kind":"Pod","metadata":{"name":1}},0,{}]', lines[-1]],
    lambda lines: [*lines[:-2], b'[{"metadata":{"name":"a"}},0,{}]', lines[-1]],
    lambda lines: [*lines[:-2], b'[{"apiVersion":1,"kind":"Pod","metadata":{"name":"a"}},0,{}]', lines[-1]],
    lambda lines: [*lines[:-2], b"\xff\xfe", lines[-1]],
    lambda lines: [*lines[:-2], b"[" * 100_000, lines[-1]],
])  # fmt: skip
def test_a_spoiled_line_is_one_error(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = tmp_path / "file"
    save(snapshot(*(pod(f"p{number}", containers=[{"name": "c", "image": "x" * 60}]) for number in range(60))), path)
    lines = lines_of(path)
    path.write_bytes(zstandard.compress(b"\n".join(lines) + b"\n"))
    assert len(open_snapshot(path)) == 60
    path.write_bytes(zstandard.compress(b"\n".join(change(lines)) + b"\n"))
    with pytest.raises(InputError) as caught:
        open_snapshot(path)
    assert caught.value.where.startswith(str(path))


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
    with pytest.raises(InputError, match="cannot write it: No such file"):
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
