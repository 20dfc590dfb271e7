"""The meter's objects before a real API server: it takes them, admits their pods, gives them the rights they need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plimsoll.agents.meter import watches
from plimsoll.kube.client import Client, Refused
from plimsoll.kube.objects import MANAGER, Obj, Ref, get, name, namespace
from plimsoll.pillars.observability.render_meter import meter_objects
from plimsoll.pillars.security.render_homes import objects as homes
from plimsoll.plan.local import changes
from plimsoll.plan.model import HOME, marked, thing
from plimsoll.plan.order import rank, wave
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from tests.unit.kube.realserver import MISSING, real_api_server
from tests.unit.pillars.test_meter_render import SHARED, metered

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
KINDS = [
    metered(ledger={"storage": "50Gi", "storageClass": "gp3"}),
    metered(ledger=SHARED),
    metered("node", SHARED),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with real_api_server(tmp_path_factory.mktemp("api") / "server") as config, Client(config) as found:
        (space,) = [each for each in homes(KINDS[0]) if each["kind"] == "Namespace" and name(each) == HOME]
        found.apply(space)
        found.apply(thing("node.k8s.io/v1", "RuntimeClass", "nvidia", handler="nvidia"))
        yield found


def applied(client: Client, platform: Platform) -> list[Obj]:
    """The objects as they were asked for, applied in the order of `plimsoll apply`."""
    wanted = [marked(each, "p", "observability") for each in meter_objects(platform)]
    for each in sorted(wanted, key=lambda each: (wave(each), rank(Ref.of(each)))):
        client.apply(each, manager=MANAGER, strict=True)
    return wanted


@pytest.mark.parametrize("platform", KINDS, ids=["file", "database", "nodes"])
def test_it_is_taken_and_a_plan_from_a_snapshot_shows_no_change(client: Client, platform: Platform) -> None:
    for wanted in applied(client, platform):
        live = client.get(f"{wanted['apiVersion']}/{wanted['kind']}", name(wanted), namespace(wanted))
        assert live is not None
        assert changes(wanted, live) == ()
        before = get(live, "metadata", "resourceVersion")
        assert get(client.apply(wanted, manager=MANAGER), "metadata", "resourceVersion") == before


@pytest.mark.parametrize("platform", KINDS, ids=["file", "database", "nodes"])
def test_its_pods_are_admitted_where_they_are_to_run(client: Client, platform: Platform) -> None:
    """By Pod Security of their namespace, the service account, the RuntimeClass. A controller makes the same pods."""
    workloads = [each for each in applied(client, platform) if get(each, "spec", "template", "spec")]
    assert workloads
    for each in workloads:
        template = each["spec"]["template"]
        spec = dict(template["spec"])
        for claim in each["spec"].get("volumeClaimTemplates", []):
            title = claim["metadata"]["name"]
            spec["volumes"] = [*spec["volumes"], {"name": title, "persistentVolumeClaim": {"claimName": title}}]
        labels = template["metadata"]["labels"]
        pod = thing("v1", "Pod", f"{name(each)}-x", namespace(each), labels=labels, spec=spec)
        made = client.create(pod)
        assert get(made, "spec", "serviceAccountName") == "plimsoll-meter"
        client.delete("v1/Pod", name(made), namespace(made))
        if get(spec, "hostPID"):
            with pytest.raises(Refused, match="PodSecurity"):
                client.create(pod | {"metadata": pod["metadata"] | {"namespace": HOME}})


def test_its_account_may_read_what_it_watches_and_nothing_else(client: Client) -> None:
    applied(client, KINDS[1])
    user = f"system:serviceaccount:{derive.meter_namespace(KINDS[1])}:plimsoll-meter"

    def may(verb: str, resource: str, group: str = "") -> bool:
        asked = {"verb": verb, "resource": resource, "group": group, "namespace": "any"}
        review = thing("authorization.k8s.io/v1", "SubjectAccessReview", "",
                       spec={"user": user, "resourceAttributes": asked})  # fmt: skip
        review["metadata"] = {}
        answer = client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return get(answer, "status", "allowed") is True

    for kind in (*watches.NEEDED, *watches.OPTIONAL):
        for verb in ("get", "list", "watch"):
            assert may(verb, kind.plural, kind.group), (verb, kind)
        for verb in ("create", "update", "patch", "delete"):
            assert not may(verb, kind.plural, kind.group), (verb, kind)
    assert may("get", "jobsets", "jobset.x-k8s.io")
    for verb, resource in (("get", "secrets"), ("list", "secrets"), ("get", "configmaps"), ("get", "pods/log"),
                           ("create", "pods/exec"), ("get", "nodes/proxy"), ("list", "namespaces")):  # fmt: skip
        assert not may(verb, resource), (verb, resource)
