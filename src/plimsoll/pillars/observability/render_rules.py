"""Rules as objects: for the Prometheus Operator, or as files in ConfigMaps for a Prometheus that reads files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

from plimsoll.kube.objects import Obj
from plimsoll.pillars.observability.pack.model import Group
from plimsoll.pillars.observability.pack.pack import rules
from plimsoll.plan.model import HOME, thing
from plimsoll.spec.model import Platform

RULES_LABEL = "plimsoll.dev/prometheus-rules"


def rule_objects(platform: Platform) -> Iterator[Obj]:
    """One object for each portion of the rules, of the same name either way."""
    prometheus = platform.observability.prometheus
    for name, groups in rules(platform).items():
        if prometheus.operator:
            yield thing(
                "monitoring.coreos.com/v1", "PrometheusRule", name, HOME, labels=prometheus.labels, spec=_plain(groups)
            )
        else:
            data = {f"{name}.yml": rule_file(groups)}
            yield thing("v1", "ConfigMap", name, HOME, labels=prometheus.labels | {RULES_LABEL: "1"}, data=data)


def _plain(groups: Sequence[Group]) -> Obj:
    return {"groups": [group.plain() for group in groups]}


def rule_file(groups: Sequence[Group]) -> str:
    """The text of a file that Prometheus reads as rule_files."""
    return yaml.safe_dump(_plain(groups), sort_keys=False, width=120)
