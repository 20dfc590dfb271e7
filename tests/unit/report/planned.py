"""A plan that has everything a plan can have; what its forms say of it is kept in tests/golden/plan."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from plimsoll.kube.objects import Ref
from plimsoll.plan.fields import Field
from plimsoll.plan.model import Chart
from plimsoll.plan.result import EVICTED, RESTARTED, Action, Impact, Item, Owner, Plan, Row, Struck

GOLDEN = Path(__file__).parents[2] / "golden" / "plan"
FORMS = {"table.txt": "table", "plan.md": "markdown", "plan.json": "json"}


def files() -> dict[str, str]:
    """By the name of the golden file."""
    return {name: render(form, full()) for name, form in FORMS.items()}


def render(form: str, plan: Plan) -> str:
    text: str = import_module(f"plimsoll.report.plan.{form}").render(plan)
    return text


def item(action: Action, kind: str, name: str, space: str = "", *fields: Field, **more: object) -> Item:
    return Item(ref=Ref("v1", kind, space, name), action=action, fields=fields, **more)  # type: ignore[arg-type]


def full() -> Plan:
    """Every action; every kind of field; every part of an impact."""
    chart = Chart(name="kueue", namespace="kueue-system", chart="kueue", repository="https://x.example.com",
                  version="0.18.4", values={})  # fmt: skip
    items = (
        item(Action.KEEP, "Namespace", "team-a", pillar="security"),
        item(Action.CREATE, "NetworkPolicy", "default-deny", "team-a", pillar="security"),
        item(Action.CREATE, "ConfigMap", "layouts", "gpu-operator", pillar="partition", judged=True),
        item(Action.CHANGE, "Release", "kueue", "kueue-system", Field("version", "0.18.3", "0.18.4"),
             Field("values.a", None, {"b": [1, 2]}), pillar="queueing", chart=chart),
        item(Action.CHANGE, "ClusterQueue", "team-a", "",
             Field("spec.resourceGroups[0].flavors[h100].resources", 8, 16), Field("spec.cohortName", "all", None),
             Field("metadata.labels[a.b/c]", "", "x"),
             Field("spec.text", "one\ntwo\n", "one\nthree\nfour\n"), Field("spec.long", "a", "b" * 400),
             *(Field(f"spec.more.f{n:02}", n, n + 1) for n in range(24)),
             pillar="queueing", owners=(Owner("argocd", "spec.cohortName"),), judged=True),
        item(Action.REPLACE, "LocalQueue", "gpus", "team-a", Field("spec.clusterQueue", "a", "b"), pillar="queueing",
             why="a field that it was created with cannot change: spec.clusterQueue", judged=True),
        item(Action.CHANGE, "Node", "h100-0", "", Field("metadata.labels[nvidia.com/mig.config]", "all-disabled",
             "all-1g.10gb"), pillar="partition", disruptive=True, judged=True),
        item(Action.PRUNE, "ServiceAccount", "old", "team-a", pillar="security", judged=True),
        item(Action.BLOCKED, "ScaledObject", "chat", "team-a", pillar="serving", hint="is its chart installed?",
             why="the cluster does not serve the kind keda.sh/v1alpha1/ScaledObject"),
        item(Action.UNKNOWN, "Release", "gpu-operator", "gpu-operator", pillar="operator",
             why="it is there; whether with these values no snapshot tells"),
    )  # fmt: skip
    struck = (
        Struck(pod=Ref("v1", "Pod", "team-a", "train-0"), team="a", node="h100-0", how=EVICTED,
               why="the GPUs of node h100-0 are cut anew", devices={"nvidia.com/gpu": 8},
               running=9000.0, gpu_hours=20.0),
        Struck(pod=Ref("v1", "Pod", "team-a", "chat-0"), team="", node="h100-1", how=RESTARTED,
               why="Deployment/team-a/chat changes", devices={"nvidia.com/mig-1g.10gb": 1},
               running=None, gpu_hours=None),
    )  # fmt: skip
    impact = Impact(
        struck=struck,
        unseen="pods could not all be read: who is met is not known",
        capacity=(
            Row(of="h100", what="nvidia.com/gpu", before=8, after=0),
            Row(of="h100", what="nvidia.com/mig-1g.10gb", before=0, after=56),
            Row(of="l4", what="nvidia.com/gpu", before=None, after=4),
            Row(of="same", what="nvidia.com/gpu", before=4, after=4),
        ),
        quota=(Row(of="team-a", what="h100 nvidia.com/gpu", before=8, after=16),),
        cost=(
            Row(of="h100", what="fewest nodes", before=98.32, after=98.32),
            Row(of="h100", what="most nodes", before=98.32, after=196.64),
            Row(of="l4", what="fewest nodes", before=None, after=None),
            Row(of="l4", what="most nodes", before=None, after=None),
        ),
        currency="EUR",
    )
    return Plan(platform="acme", against="prod", items=items, impact=impact, notes=("Mirror the images first.",))
