"""Every performance bar, one line each. Ends with 1 where one is missed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHES = ("help_start.py", "check_scale.py", "apply_speed.py")


def main() -> int:
    here = Path(__file__).parent
    ended = [subprocess.run([sys.executable, str(here / name)], check=False).returncode for name in BENCHES]
    return 1 if any(ended) else 0


if __name__ == "__main__":
    sys.exit(main())
