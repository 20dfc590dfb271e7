"""Admission policies, and pieces of CEL they are made of.

Expressions walk containers once: the API server counts what an expression may cost. Init containers, containers and
ephemeral ones are asked apart where their types differ, or the server could not check the types.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from plimsoll.kube.objects import Obj
from plimsoll.plan.cel import ASKS_FOR_GPUS
from plimsoll.plan.model import thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

_API = "admissionregistration.k8s.io/v1"
PODS = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
DEBUG = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/ephemeralcontainers"], "operations": ["UPDATE"]}
CONTAINERS = {
    "name": "containers",
    "expression": "object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])",
}
GPUS = {"name": "gpus", "expression": ASKS_FOR_GPUS}


def every(condition: str) -> str:
    """That `condition` on `c` holds for every container: also those that are put into a running pod."""
    late = f"!has(object.spec.ephemeralContainers) || object.spec.ephemeralContainers.all(c, {condition})"
    return f"variables.containers.all(c, {condition}) && ({late})"


def no_env(condition: str) -> str:
    """That no container has an environment entry `e` for which `condition` holds."""
    return every(f"!has(c.env) || !c.env.exists(e, {condition})")


def texts(values: Iterable[str]) -> str:
    """A list of texts as CEL writes it, whatever is in them."""
    return "[" + ", ".join(json.dumps(value, ensure_ascii=False) for value in values) + "]"


def refused(expression: str, message: str) -> Obj:
    return {"expression": expression, "reason": "Forbidden", "message": message}


def policy(
    platform: Platform,
    name: str,
    rules: list[Obj],
    validations: list[Obj],
    annotations: dict[str, str] | None = None,
    **fields: Any,
) -> Iterator[Obj]:
    """A policy and its binding in all namespaces of teams, with who looks at it, and how often."""
    review = platform.security.review
    about = {"plimsoll.dev/owner": review.owner, "plimsoll.dev/review-every": str(review.every), **(annotations or {})}
    spec = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules}, **fields, "validations": validations}
    yield thing(_API, "ValidatingAdmissionPolicy", name, annotations=about, spec=spec)
    yield thing(
        _API,
        "ValidatingAdmissionPolicyBinding",
        name,
        spec={
            "policyName": name,
            "validationActions": ["Deny", "Audit"],
            "matchResources": {"namespaceSelector": derive.home_selector(platform)},
        },
    )
