"""What must never leave the cluster, planted where people put it."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.check.run import review
from plimsoll.kube.objects import Obj
from plimsoll.kube.redact import REDACTED, redacted
from plimsoll.kube.store import open_snapshot
from plimsoll.pillars import PILLARS, all_checks
from tests import recorded
from tests.faults import healthy

LAB = sorted((Path(__file__).parents[3] / "examples" / "lab").glob("*.json.gz"))
BLOCK = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj"
# Written in two halves, so that no scanner takes this file for a leak.
SHAPED = {
    "aws": "AKIA" + "Q7TESTTESTTEST42",
    "aws-session": "ASIA" + "Q7TESTTESTTEST42",
    "hugging-face": "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZ012345",
    "github": "ghp_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789",
    "github-fine": "github_pat_" + "11AAAAAAA0aBcDeFgHiJkLmNoP",
    "slack": "xoxb" + "-1234567890-abcdefGHIJ",
    "openai": "sk-" + "proj-aBcDeFgHiJkLmNoPqRsT",
    "hex": "sk-" + "0123456789abcdef0123456789abcdef",
    "gitlab": "glpat" + "-aBcDeFgHiJkLmNoPqRsT",
    "ngc": "nvapi" + "-aBcDeFgHiJkLmNoPqRsTuVw",
    "jwt": "eyJ" + "hbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
    "pem": f"-----BEGIN RSA PRIVATE KEY-----\n{BLOCK}\n-----END RSA PRIVATE KEY-----",
    "pem-cut": f"-----BEGIN PRIVATE KEY-----\n{BLOCK}",
    "bearer": "Authorization: Bearer " + "0123456789abcdefghij",
    "url": "postgres://app:hunter2secret@db.internal:5432/x",
    "url-odd": "redis://:p/a@ss9word@cache:6379",
}
PLAIN = "correct-horse-battery"  # no shape: only its name gives it away
NAMES = ("HF_TOKEN", "WANDB_API_KEY", "DB_PASSWORD", "MYSQL_ROOT_PASSWD", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
         "clientSecret", "minio-secret-key", "GOOGLE_CREDENTIALS", "OPENAI_APIKEY", "STRIPE_KEY")  # fmt: skip


def core(secret: str) -> str:
    """The part of a planted secret that gives it away."""
    for word in ("hunter2secret", "ss9word", BLOCK, "0123456789abcdefghij"):
        if word in secret:
            return word
    return secret


def pod(**container: Any) -> Obj:
    spec = {"containers": [{"name": "main", "image": "a/b:1", **container}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "spec": spec}


def template(kind: str, *path: str) -> Callable[..., Obj]:
    def build(**container: Any) -> Obj:
        inner: Any = {"spec": pod(**container)["spec"]}
        for step in reversed(path):
            inner = [inner] if step == "[]" else {step: inner}
        return {"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "p"}, **inner}

    return build


HOMES = [
    pod,
    template("Deployment", "spec", "template"),
    template("CronJob", "spec", "jobTemplate", "spec", "template"),
    template("JobSet", "spec", "replicatedJobs", "[]", "template", "spec", "template"),
    template("LeaderWorkerSet", "spec", "leaderWorkerTemplate", "workerTemplate"),
    template("Workload", "spec", "podSets", "[]", "template"),
    template("ControllerRevision", "data", "spec", "template"),
]
PLACES: dict[str, Callable[[str], Obj]] = {
    "env": lambda s: pod(env=[{"name": "X", "value": s}]),
    "args": lambda s: pod(args=["serve", f"--with={s}"]),
    "command": lambda s: pod(command=["sh", "-c", f"run '{s}'"]),
    "probe": lambda s: pod(livenessProbe={"httpGet": {"httpHeaders": [{"name": "A", "value": s}]}}),
    "annotation": lambda s: {**pod(), "metadata": {"name": "p", "annotations": {"a/b": s}}},
    "crash": lambda s: {**pod(), "status": {"containerStatuses": [{"lastState": {"terminated": {"message": s}}}]}},
    "condition": lambda s: {**pod(), "status": {"conditions": [{"type": "Ready", "message": s}]}},
    "event": lambda s: {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "message": f"failed: {s}"},
    "config": lambda s: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"f": f"a\n{s}"}},
    "trigger": lambda s: {"kind": "ScaledObject", "spec": {"triggers": [{"metadata": {"serverAddress": s}}]}},
    "applied": lambda s: {"apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy", "metadata": {"annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": {"x": s}})}}},
}  # fmt: skip


def clean(obj: Obj, *secrets: str) -> Obj:
    """The redacted object, after what must hold of every redaction."""
    before = copy.deepcopy(obj)
    done = redacted(obj)
    assert obj == before, "the input was changed"
    assert redacted(done) == done, "not idempotent"
    text = json.dumps(done)
    for secret in secrets:
        assert json.dumps(secret)[1:-1] not in text, text
    return done


@pytest.mark.parametrize("shape", SHAPED)
@pytest.mark.parametrize("place", PLACES)
def test_a_credential_is_seen_by_its_shape(place: str, shape: str) -> None:
    clean(PLACES[place](SHAPED[shape]), core(SHAPED[shape]))


@pytest.mark.parametrize("home", HOMES, ids=lambda each: each.__qualname__)
@pytest.mark.parametrize("name", NAMES)
def test_a_credential_is_seen_by_the_name_of_its_variable(home: Callable[..., Obj], name: str) -> None:
    done = clean(home(env=[{"name": name, "value": PLAIN}, {"name": "MODEL", "value": "llama"}]), PLAIN)
    assert "llama" in json.dumps(done)
    clean(home(args=[f"--{name}={PLAIN}"]), PLAIN)
    clean(home(args=[f"--{name}", PLAIN, "--port", "80"]), PLAIN)
    clean(home(command=["sh", "-c", f"export {name}='{PLAIN}'; exec vllm --{name} {PLAIN}"]), PLAIN)


@given(
    secret=st.sampled_from(sorted(SHAPED.values())),
    before=st.text(alphabet=" \n\t,;('\"", max_size=5),
    after=st.text(alphabet=" \n\t,;)'\"", max_size=5),
    place=st.sampled_from(sorted(PLACES)),
)
def test_what_stands_around_a_credential_does_not_hide_it(secret: str, before: str, after: str, place: str) -> None:
    clean(PLACES[place](f"{before}{secret}{after}"), core(secret))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_TOKENS", "4096"), ("TOKENIZERS_PARALLELISM", "false"), ("TLS_KEY_FILE", "/certs/tls.key"),
        ("KUBECONFIG", "/etc/kube/config"), ("SECRET_NAME", "hf"), ("HF_TOKEN", "$(OTHER)"), ("HF_TOKEN", ""),
        ("NVIDIA_VISIBLE_DEVICES", "all"), ("MODEL_URL", "http://store:9000/x@1"), ("TASK", "disk-task-sk-learn"),
        ("IMAGE", "docker-pullable://registry:5000/app@sha256:0123456789abcdef0123456789abcdef"),
    ],
)  # fmt: skip
def test_what_only_looks_like_one_stays(name: str, value: str) -> None:
    obj = pod(env=[{"name": name, "value": value}], args=[f"--{name.lower()}={value}"])
    assert clean(obj) == obj


def test_a_secret_keeps_names_and_type_only() -> None:
    secret = {
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"user": "YWRtaW4=", "pw": "c2VjcmV0"},
        "stringData": {"extra": PLAIN}, "oddity": PLAIN,
        "metadata": {"name": "s", "labels": {"app": "x"}, "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": f'{{"stringData":{{"extra":"{PLAIN}"}}}}',
            "copy/of": f'{{"v":"{PLAIN}"}}', "old/password": PLAIN, "kubernetes.io/service-account.name": "default"}},
    }  # fmt: skip
    done = clean(secret, PLAIN, "YWRtaW4=", "c2VjcmV0")
    assert done["data"] == {"user": "", "pw": ""}
    assert done["stringData"] == {"extra": ""}
    assert done["type"] == "Opaque"
    assert done["metadata"]["annotations"] == {"kubernetes.io/service-account.name": "default"}


def test_settings_in_a_config_map() -> None:
    text = f'server: a\npassword: {PLAIN}\nsecretName: webhook-cert\nmaxTokens: 5\n[x]\napi_key = "{PLAIN}"\nkey: gpu'
    data = {"app.conf": text, "DB_PASSWORD": PLAIN, "n.json": f'{{"token":"{PLAIN}","a":1}}', "tls.key": PLAIN}
    done = clean({"kind": "ConfigMap", "data": data, "binaryData": {"k": "c2VjcmV0"}}, PLAIN, "c2VjcmV0")
    kept = text.replace(PLAIN, REDACTED)
    assert done["data"] == {"app.conf": kept, "DB_PASSWORD": REDACTED, "tls.key": REDACTED,
                            "n.json": f'{{"token":"{REDACTED}","a":1}}'}  # fmt: skip
    assert done["binaryData"] == {"k": ""}


def test_a_scaler_s_own_settings() -> None:
    trigger = {"type": "rabbitmq", "metadata": {"password": PLAIN, "passwordFromEnv": "RMQ_PW", "threshold": "5"}}
    done = clean({"kind": "ScaledObject", "spec": {"triggers": [trigger]}}, PLAIN)
    assert done["spec"]["triggers"][0]["metadata"] == {
        "password": REDACTED, "passwordFromEnv": "RMQ_PW", "threshold": "5"
    }  # fmt: skip


def test_managed_fields_keep_who_and_when() -> None:
    entry = {"manager": "nfd", "operation": "Update", "time": "2026-11-24T11:00:00Z", "apiVersion": "v1",
             "fieldsV1": {"f:metadata": {"f:labels": {"f:nvidia.com/mig.config": {}, "f:pool": {}}}}}  # fmt: skip
    brief = {key: entry[key] for key in ("manager", "operation", "time")}
    meta = {"name": "n", "managedFields": [entry, "odd"]}
    node = clean({"apiVersion": "v1", "kind": "Node", "metadata": meta})
    assert node["metadata"]["managedFields"] == [
        {**brief, "fieldsV1": {"f:metadata": {"f:labels": {"f:nvidia.com/mig.config": {}}}}}
    ]
    assert clean({**pod(), "metadata": meta})["metadata"]["managedFields"] == [brief]


def test_bulk_is_left_out() -> None:
    hook = {"kind": "MutatingWebhookConfiguration", "webhooks": [{"clientConfig": {"caBundle": "eHg=", "url": "u"}}]}
    assert clean(hook)["webhooks"] == [{"clientConfig": {"url": "u"}}]
    noted = {**pod(), "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"}}}
    assert clean(noted)["metadata"]["annotations"] == {"a": "b"}


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(list(SHAPED.values())),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["metadata", "spec", "containers", "env", "name", "value", "args", "annotations", "data",
                         "status", "conditions", "managedFields", "containerStatuses", "lastState"]),
        inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.sampled_from(["Pod", "Secret", "ConfigMap", "Node", "Event", "Job"]), st.dictionaries(
    st.sampled_from(["metadata", "spec", "data", "status", "stringData"]), HOSTILE))  # fmt: skip
def test_hostile_shapes_neither_raise_nor_leak(kind: str, body: dict[str, Any]) -> None:
    done = clean({"kind": kind, **body})
    if kind != "Pod":  # a pod is looked at where the schema allows free text
        assert not any(json.dumps(core(secret)) in json.dumps(done) for secret in SHAPED.values())


def test_what_nests_too_deep_is_left_out() -> None:
    deep: Any = PLAIN
    for _ in range(5000):
        deep = {"env": [deep]}
    assert redacted({"kind": "Job", "spec": deep})["kind"] == "Job"


@pytest.mark.parametrize("path", LAB, ids=lambda path: path.name)
def test_redaction_changes_no_verdict(path: Path) -> None:
    items = json.loads(gzip.decompress(path.read_bytes()))["items"]
    raw = review(recorded.whole(items), all_checks())
    done = review(recorded.whole([redacted(obj) for obj in items]), all_checks())
    assert [each.finding for each in done.judgements] == [each.finding for each in raw.judgements]


def test_no_report_of_a_raw_list_shows_a_credential(tmp_path: Path) -> None:
    secret = "xYz9Q8w7E6r5T4xYz9"
    cluster = healthy()
    deployment, scaled = cluster.find("Deployment", "chat", "serving"), cluster.find("ScaledObject", "chat", "serving")
    (pod,) = cluster.pods_like("chat-", "serving")
    for spec in (deployment["spec"]["template"]["spec"], pod["spec"]):
        spec["containers"][0]["args"] = ["--model=/m", f"--api-key={secret}"]
        spec["containers"][0]["env"] = [{"name": "PGPASS", "value": secret}, {"name": "MY_CREDS", "value": secret}]
    cluster.crash(pod, "vllm", f"ValueError: HF_TOKEN={secret} is not valid")
    cluster.unavailable("chat", "serving")
    scaled["spec"]["triggers"][0]["metadata"] |= {
        "serverAddress": f"http://admin:{secret}@prometheus:9090",
        "queryParameters": f"token={secret}",
    }
    cluster.conditions(
        scaled, Ready=("False", "TriggerError", f'Get "http://admin:{secret}@prometheus:9090": no such host')
    )
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": cluster.items}))
    snapshot = open_snapshot(path)
    answer = review(snapshot, all_checks())
    assert {each.check.id for each in answer.failures} >= {"V51", "V52"}
    for form in ("json", "html", "sarif", "junit", "markdown", "table"):
        assert secret not in import_module(f"plimsoll.report.{form}").render(answer, PILLARS)
    assert secret.encode() not in msgspec.json.encode(list(snapshot))
