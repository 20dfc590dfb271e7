"""Every rule, by theme."""

from __future__ import annotations

from plimsoll.diagnose.model import rules_in
from plimsoll.diagnose.rules import feed, hardware, life, nodes, serving, size, use

RULES = rules_in(use, size, serving, feed, hardware, nodes, life)
