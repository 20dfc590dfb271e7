"""Write anew what tests/golden holds of renders, plans, bills and a diagnosis. Review what git says has changed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import goldens
from tests.unit.report import bills, diagnosed, planned


def main() -> int:
    shutil.rmtree(goldens.GOLDEN, ignore_errors=True)
    count = 0
    for name, form in goldens.CASES:
        for path, text in goldens.files(name, form).items():
            place = goldens.folder(name, form) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
            count += 1
    for kept in (planned, bills, diagnosed):
        kept.GOLDEN.mkdir(parents=True, exist_ok=True)
        for title, text in kept.files().items():
            (kept.GOLDEN / title).write_text(text, encoding="utf-8")
    print(f"{goldens.GOLDEN.relative_to(goldens.ROOT)}: {count} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
