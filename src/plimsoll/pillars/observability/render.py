"""Pillar observability: what is collected, what is worked out of it, who is told, and what it looks like."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.pillars.observability.render_boards import LABEL, board_objects
from plimsoll.pillars.observability.render_meter import meter_notes, meter_objects
from plimsoll.pillars.observability.render_monitors import monitors
from plimsoll.pillars.observability.render_rules import RULES_LABEL, rule_objects
from plimsoll.plan.model import HOME, Part
from plimsoll.spec.model import Platform

_STATES = (
    "Devices, pods and nodes are known from kube-state-metrics, which must run beside Prometheus; "
    "--metric-labels-allowlist=nodes=[{labels}] lets it show which pool a node is of"
)


def render(platform: Platform) -> Part:
    """Monitors where the Prometheus Operator reads them, rules, dashboards, the meter where one is asked for."""
    collected = monitors(platform) if platform.observability.prometheus.operator else ()
    drawn = board_objects(platform) if platform.observability.dashboards == "grafana" else ()
    objects = (*collected, *rule_objects(platform), *drawn, *meter_objects(platform))
    return Part(objects=objects, notes=(*_notes(platform), *meter_notes(platform)))


def _notes(platform: Platform) -> Iterator[str]:
    prometheus = platform.observability.prometheus
    labels = sorted({key for pool in platform.pools for key in pool.selector})
    yield _STATES.format(labels=",".join(labels))
    if "security" not in platform.cluster.manage:
        yield f"Namespace {HOME} must be there: what is rendered here lies in it"
    if not prometheus.operator:
        yield (
            f"Rules are in ConfigMaps of {HOME} with the label {RULES_LABEL}=1: mount them into Prometheus and name "
            "their folder in rule_files, or let a sidecar fetch what has that label"
        )
        yield (
            "Prometheus must be told what to collect: port 9400 of the exporter on every GPU node with honor_labels "
            "and "
            "the node's name in the label node, 8443 of Kueue, and of each service its port with the name of the "
            "service in the label service; of the meter, where there is one, 9465 with honor_labels"
        )
    elif not prometheus.labels:
        yield (
            "Prometheus must take monitors and rules from every namespace, whatever their labels; where it selects "
            "them "
            "by labels, say which in observability.prometheus.labels"
        )
    if platform.observability.dashboards == "grafana":
        label = ", ".join(f"{key}={value}" for key, value in LABEL.items())
        yield (
            f"Dashboards are ConfigMaps of {HOME} with the label {label}: Grafana's sidecar must search that namespace "
            "(sidecar.dashboards.searchNamespace), and takes the folder from sidecar.dashboards.folderAnnotation: "
            "grafana_folder"
        )
