"""A lab whose charts somebody else installs: programs come with their Deployments, follow them, and go with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
import yaml

from plimsoll.kube import helm
from plimsoll.kube.objects import Obj, annotations_of, condition, get, items, mapping, number, text
from plimsoll.lab.run import charts, control, launch
from plimsoll.lab.run.addons.kueue import NAMESPACE, configuration
from plimsoll.lab.run.settings import Settings
from plimsoll.lab.run.state import State, read
from tests.lab.conftest import PRACTICE, Lab

SETTINGS = Settings(
    name="charts", addons=("kueue", "gpu-operator"), charts="wait", platform=(PRACTICE / "platform.yaml").read_text()
)
PATIENCE = 180.0  # seconds for a rollout, on two cores that others use, too
MANAGER = ("apps/v1/Deployment", "kueue-controller-manager", NAMESPACE)
QUEUE = "kueue.x-k8s.io/v1beta2"
CLUSTER_QUEUE: Obj = {
    "apiVersion": QUEUE,
    "kind": "ClusterQueue",
    "metadata": {"name": "first"},
    "spec": {
        "namespaceSelector": {},
        "resourceGroups": [
            {
                "coveredResources": ["cpu"],
                "flavors": [{"name": "any", "resources": [{"name": "cpu", "nominalQuota": "1"}]}],
            }
        ],
    },
}
JOB: Obj = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "unqueued", "namespace": "default"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}},
}


@pytest.fixture(scope="module")
def empty(labs: Path) -> Iterator[Lab]:
    """A lab with nodes and no chart."""
    state = launch.up(SETTINGS)
    folder = launch.folder_of("charts")
    made = Lab(folder, state)
    yield made
    made.client.close()
    launch.down(folder)


def running(lab: Lab) -> dict[str, int]:
    """The programs that run, and the process each is."""
    state = read(lab.folder)
    assert isinstance(state, State)
    return {each.name: each.pid for each in state.programs if each.pid}


def until(look: Callable[[], bool], what: str, patience: float = 120.0) -> None:
    end = monotonic() + patience
    while not look():
        assert monotonic() < end, what
        sleep(0.1)


def rolled_out(found: Obj | None) -> bool:
    """As `kubectl rollout status` judges it."""
    if found is None or number(found, "status", "observedGeneration") < number(found, "metadata", "generation"):
        return False
    wanted = number(found, "spec", "replicas")
    counts = ("updatedReplicas", "availableReplicas", "replicas")
    return all(number(found, "status", each) == wanted for each in counts)


def kueue(lab: Lab, **settings: object) -> None:
    """Install or upgrade its chart; `settings` are top-level fields of its Configuration."""
    chart = charts.chart(lab.folder.charts, "kueue")
    whole = {**yaml.safe_load(configuration(chart, {})), **settings}
    values = {"managerConfig": {"controllerManagerConfigYaml": yaml.safe_dump(whole)}}
    helm.upgrade(chart, name="kueue", namespace=NAMESPACE, values=values, kubeconfig=lab.folder.kubeconfig)


def suspended(lab: Lab) -> bool:
    """Whether Kueue holds a Job that names no queue."""
    lab.client.create(JOB)
    found = lab.client.get("batch/v1/Job", "unqueued", "default")
    lab.client.delete("batch/v1/Job", "unqueued", "default")
    until(lambda: lab.client.get("batch/v1/Job", "unqueued", "default") is None, "the Job stays")
    return get(found, "spec", "suspend") is True


def active(found: Obj | None) -> bool:
    return text(condition(found or {}, "Active"), "status") == "True"


def crashes(pods: list[Obj]) -> bool:
    states = [each for pod in pods for each in items(pod, "status", "containerStatuses")]
    return any(text(each, "state", "waiting", "reason") == "CrashLoopBackOff" for each in states)


def test_nothing_of_the_charts_is_there_before_they_are_installed(empty: Lab) -> None:
    assert not {"kueue", "gpu-operator"} & running(empty).keys()
    spaces = {get(each, "metadata", "name") for each in empty.client.list("v1/Namespace")}
    assert not {NAMESPACE, "gpu-operator"} & spaces
    for node in empty.client.list("v1/Node"):
        assert "nvidia.com/mig.config" not in mapping(node, "metadata", "labels")
        assert not [key for key in mapping(node, "status", "allocatable") if key.startswith("nvidia.com/")]


def test_a_program_comes_follows_and_goes_with_its_deployment(empty: Lab) -> None:
    client = empty.client
    kueue(empty)
    empty.wait(*MANAGER, until=rolled_out, patience=PATIENCE)
    # Available means that its webhooks answer: nothing is tried twice from here on.
    client.create({"apiVersion": QUEUE, "kind": "ResourceFlavor", "metadata": {"name": "any"}})
    client.create(CLUSTER_QUEUE)
    empty.wait(f"{QUEUE}/ClusterQueue", "first", "", active)
    assert not suspended(empty)

    first = running(empty)["kueue"]
    kueue(empty, manageJobsWithoutQueueName=True)
    empty.wait(*MANAGER, until=rolled_out, patience=PATIENCE)
    assert suspended(empty)
    until(lambda: running(empty).get("kueue", first) != first, "the program with the new settings is not told of")

    second = running(empty)["kueue"]
    kueue(empty, fairSharing=3)
    until(lambda: crashes(client.list("v1/Pod", NAMESPACE)), "no pod shows that its program does not come up")
    assert running(empty)["kueue"] == second, "one that does not come up takes nothing over"
    assert suspended(empty)

    client.delete(f"{QUEUE}/ClusterQueue", "first")
    client.delete(f"{QUEUE}/ResourceFlavor", "any")
    assert helm.uninstall(name="kueue", namespace=NAMESPACE, kubeconfig=empty.folder.kubeconfig)
    until(lambda: "kueue" not in running(empty), "Kueue goes on without a Deployment")
    kueue(empty)
    empty.wait(*MANAGER, until=rolled_out, patience=PATIENCE)
    client.create({"apiVersion": QUEUE, "kind": "ResourceFlavor", "metadata": {"name": "again"}})


def test_reset_goes_back_to_no_chart(empty: Lab) -> None:
    control.ask(empty.folder, "reset")
    assert not {"kueue", "gpu-operator"} & running(empty).keys()
    assert empty.client.get("v1/Namespace", NAMESPACE) is None


def test_a_stopped_program_stays_stopped_whatever_its_deployment_says(lab: Lab) -> None:
    """In a lab that installed the charts itself: what a fault needs, and healing undoes."""
    first = running(lab)["kueue"]
    pods = lab.client.list("v1/Pod", NAMESPACE, labels="control-plane=controller-manager")
    assert all("lab.plimsoll.dev/answers" in annotations_of(each) for each in pods)
    control.ask(lab.folder, "stop", "kueue")
    note = {"spec": {"template": {"metadata": {"annotations": {"example.com/restarted": "now"}}}}}
    lab.client.patch(MANAGER[0], MANAGER[1], note, NAMESPACE)
    sleep(2.0)
    assert "kueue" not in running(lab)
    assert not rolled_out(lab.client.get(*MANAGER)), "a new pod is not ready before its program"
    control.ask(lab.folder, "start", "kueue")
    lab.wait(*MANAGER, until=rolled_out, patience=PATIENCE)
    assert running(lab)["kueue"] != first
