"""Nodes of a cluster and the labels that a declaration asks of them."""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.kube.objects import Obj, Ref, labels, name
from plimsoll.plan.fields import Field
from plimsoll.plan.model import NodeRule
from plimsoll.plan.order import RESOURCES
from plimsoll.plan.result import Action, Item

_OFF = "all-disabled"  # the value of nvidia.com/mig.config that cuts nothing


def items(rules: Iterable[NodeRule], nodes: Iterable[Obj], pillar: str = "partition") -> list[Item]:
    """One item for each node of a pool, of the first whose rule selects it."""
    found: list[Item] = []
    rules = list(rules)
    for node in sorted(nodes, key=name):
        have = labels(node)
        rule = next((each for each in rules if each.selector.items() <= have.items()), None)
        if rule is not None:
            found.append(_item(rule, node, have, pillar))
    return found


def _item(rule: NodeRule, node: Obj, have: dict[str, str], pillar: str) -> Item:
    wrong = {key: value for key, value in rule.labels.items() if have.get(key) != value}
    fields = tuple(Field(f"metadata.labels[{key}]", have.get(key), value) for key, value in wrong.items())
    return Item(
        ref=Ref("v1", "Node", "", name(node)),
        action=Action.CHANGE if wrong else Action.KEEP,
        pillar=pillar,
        wave=RESOURCES,
        fields=fields,
        disruptive=any(key in rule.disruptive and not _same(have.get(key), value) for key, value in wrong.items()),
        obj={"metadata": {"labels": wrong}},
        judged=True,
    )


def _same(before: str | None, after: str | None) -> bool:
    """Whether a label only says what is so already: MIG that nobody asked for is off."""
    return not before and after == _OFF
