"""A generated month exported as FOCUS data and judged by the FinOps Foundation's own validator.

    python tools/focus_check.py [--python PYTHON]

Needs Python 3.12 for the validator: one that is named, on PATH, or among pyenv's. It gets an environment of its own in
build/focus. Printed are, per file, how many rules pass, fail and were skipped, and every rule that fails;
exit 1 where one fails that is not among EXPECTED, 77 where there is no Python 3.12.

The validator has rules of 1.2 only: those of 1.3 are in tests/unit/cost/test_focus.py. A file of 1.3 is judged by the
rules of 1.2 as well, which 1.3 kept but for those of sub accounts.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, get_args

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
from plimsoll.cost.focus import Export, export  # noqa: E402  found from the repository's root
from plimsoll.cost.focus_columns import Version  # noqa: E402
from plimsoll.cost.ledger import Ledger  # noqa: E402
from plimsoll.cost.price import Tariff  # noqa: E402
from plimsoll.cost.sample import Gpu, Hold, Instance, Node, Pod, Record  # noqa: E402
from plimsoll.cost.store import open_store  # noqa: E402
from tests.unit.cost import months  # noqa: E402

FOLDER = ROOT / "build" / "focus"
# The validator wants Python 3.12 and numpy 1.26: later pyarrows do not work beside that, and for later Pythons it is
# not built.
PYTHON = "3.12"
PACKAGES = ("focus-validator==2.2.1", "pyarrow<20")
RULES = "1.2.0.1"

# What is true of what we export; the validator leaves out the rules of anything else.
APPLIES = (
    "ACCOUNT_NAMING_SUPPORTED", "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED",
    "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED", "MULTIPLE_PRICING_CATEGORIES_SUPPORTED", "REGION_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED", "TAGGING_SUPPORTED", "UNIT_PRICING_SUPPORTED", "USAGE_MEASUREMENT_SUPPORTED",
)  # fmt: skip
ONLY = {"1.2": ("SUB_ACCOUNT_SUPPORTED", "MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED"), "1.3": ()}
EXPECTED = {
    "InvoiceId-C-005-C": "asks that InvoiceId is never null where InvoiceId-C-004-C asks that it always is: "
    "their conditions are not in the rules, so one of both always fails",
}


class Verdict(NamedTuple):
    passed: int
    failed: int
    skipped: int
    rules: dict[str, str]  # that failed, and what they ask


def records() -> list[Record]:
    """Two months of spot, services and evictions; a node of a region, cut by MIG; pods with labels."""
    began = months.OCTOBER.began
    node = Node(uid="cut", name="cut", pool="h100", sku=months.SKU, provider="aws", region="us-east-1",
                instance_type="p5.48xlarge", gpus=1, began=began)  # fmt: skip
    found: list[Record] = [*months.records(), node, Gpu(node="cut", gpu="cut-0", began=began)]
    for place in range(3):
        uid, instance = f"lab-{place}", str(place)
        found += [
            Instance(node="cut", gpu="cut-0", instance=instance, profile="1g.10gb", parts=8, began=began),
            Pod(uid=uid, namespace="lab", name=uid, node="cut", team="idlers", labels={"app": uid}, began=began),
            Hold(pod=uid, node="cut", gpu="cut-0", instance=instance, parts=8, began=began),
        ]
    return found


def pythons() -> list[str]:
    """Programs that may be such a Python."""
    found = shutil.which(f"python{PYTHON}")
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return [*([found] if found else []), *sorted(map(str, kept.glob(f"{PYTHON}.*/bin/python")), reverse=True)]


def validator(named: str | None) -> Path | None:
    """The folder of the programs of an environment with the validator, made where there is none."""
    programs = FOLDER / "venv" / "bin"
    if (programs / "focus-validator").exists():
        return programs
    for python in [named] if named else pythons():
        version = subprocess.run([python, "--version"], capture_output=True, text=True)
        if version.stdout.startswith(f"Python {PYTHON}."):
            shutil.rmtree(programs.parent, ignore_errors=True)
            subprocess.run([python, "-m", "venv", str(programs.parent)], check=True)
            subprocess.run([programs / "pip", "install", "--quiet", *PACKAGES], check=True)
            return programs
    return None


def judge(programs: Path, path: Path, applies: tuple[str, ...]) -> Verdict:
    """What the validator says of a file. It finds its list of currencies from the folder that it is installed in."""
    site = next((programs.parent / "lib").glob("python3.*/site-packages"))
    command: list[str | Path] = [
        programs / "focus-validator", "--data-file", path, "--validate-version", RULES, "--block-download",
        "--focus-dataset", "CostAndUsage", "--applicability-criteria", ",".join(applies),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=site, capture_output=True, text=True)
    counts = re.search(r"Pass: (\d+) \| Fail: (\d+) \| Skipped: (\d+)", done.stdout)
    if done.returncode or counts is None:
        raise SystemExit(f"the validator gave up on {path}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    said = done.stdout.partition("--- Failures ---")[2]
    rules = dict(re.findall(r"^- (\S+): .*\n  MustSatisfy: (.*)$", said, re.MULTILINE))
    passed, failed, skipped = map(int, counts.groups())
    if failed != len(rules):
        raise SystemExit(f"of {failed} rules that failed only {len(rules)} could be read")
    return Verdict(passed, failed, skipped, rules)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", help=f"Python {PYTHON}, for the validator")
    FOLDER.mkdir(parents=True, exist_ok=True)
    programs = validator(parser.parse_args().python)
    if programs is None:
        print(f"focus-validator needs Python {PYTHON}, and there is none here: --python PYTHON", file=sys.stderr)
        return 77
    ledger = Ledger(open_store(":memory:"))
    ledger.write(records())
    wrong = 0
    for version in get_args(Version):
        for form in ("csv", "parquet"):
            path = FOLDER / f"october-{version}.{form}"
            asked = Export(version=version, began=months.OCTOBER.began, ended=months.OCTOBER.ended, platform="acme")
            done = export(ledger, Tariff.of(months.platform()), asked, path)
            found = judge(programs, path, (*APPLIES, *ONLY[version]))
            counts = f"{found.passed} rules pass, {found.failed} fail, {found.skipped} skipped"
            print(f"{path.name}: {done.rows} rows; {counts}")
            for rule, asks in found.rules.items():
                print(f"  {rule} {EXPECTED.get(rule, asks)}")
                wrong += rule not in EXPECTED
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
