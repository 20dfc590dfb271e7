"""Types that threads convert are described before there are threads: msgspec crashes on two first uses at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "practice" / "platform.yaml"
AT_ONCE = """
import sys, threading
from pathlib import Path
import msgspec, yaml
import plimsoll.spec.load
from plimsoll.spec import values
from plimsoll.spec.model import Platform
data = yaml.safe_load(Path(sys.argv[1]).read_text())
sys.setswitchinterval(1e-6)
start = threading.Barrier(4)
def work():
    start.wait()
    msgspec.convert(data, Platform, dec_hook=values.decode)
threads = [threading.Thread(target=work) for _ in range(4)]
[each.start() for each in threads]
[each.join() for each in threads]
"""

KUBECONFIGS = """
import sys, threading
from lightkube.config.kubeconfig import KubeConfig
import plimsoll.kube.connect
data = {"contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {"exec": {"apiVersion": "a", "command": "b"}}}]}
sys.setswitchinterval(1e-6)
start = threading.Barrier(4)
def work():
    start.wait()
    KubeConfig.from_dict(data)
threads = [threading.Thread(target=work) for _ in range(4)]
[each.start() for each in threads]
[each.join() for each in threads]
"""


def test_first_uses_at_once_do_not_end_the_process() -> None:
    for _ in range(8):  # without the care taken, every second one ends with a segmentation fault
        subprocess.run([sys.executable, "-c", AT_ONCE, str(EXAMPLE)], check=True, capture_output=True, timeout=60)


def test_kubeconfigs_read_at_once_do_not_either() -> None:
    for _ in range(8):
        subprocess.run([sys.executable, "-c", KUBECONFIGS], check=True, capture_output=True, timeout=60)
