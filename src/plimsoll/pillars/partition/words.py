"""What components say of MIG when they stop, as far as a snapshot keeps it: termination messages and events."""

from __future__ import annotations

import re

MIXED_DEVICES = re.compile(
    r"more than one MIG device type|same migEnabled|migEnabled=true was not configured correctly", re.IGNORECASE
)
HELD = re.compile(r"in use by another client|resources? (is|are) (still )?in use", re.IGNORECASE)
