"""What no single field shows: promises above capacity, layouts that do not fit, names nobody has."""

from __future__ import annotations

from itertools import islice

from plimsoll.spec import rules_pools, rules_quota, rules_sections, rules_services, rules_teams
from plimsoll.spec.model import Platform
from plimsoll.spec.problems import PROBLEMS_MAX, Path, Problem
from plimsoll.spec.view import View

RULES = (
    *rules_pools.RULES,
    *rules_teams.RULES,
    *rules_quota.RULES,
    *rules_services.RULES,
    *rules_sections.RULES,
)


def crosscheck(platform: Platform, unread: frozenset[Path] = frozenset()) -> list[Problem]:
    """Every contradiction within a declaration, at most PROBLEMS_MAX.

    unread: paths in `platform` that do not hold what the file means (see View).
    """
    view = View(platform, unread)
    found = (problem for rule in RULES for problem in rule(view))
    return list(islice(found, PROBLEMS_MAX))
