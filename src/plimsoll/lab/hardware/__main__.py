"""`python -m plimsoll.lab.hardware --kubeconfig K --state FILE`: play the hardware of a lab's fake nodes."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path

from plimsoll.errors import PlimsollError
from plimsoll.kube.client import Client
from plimsoll.lab.hardware.loop import Loop


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="plimsoll.lab.hardware", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True, help="file of conditions; may appear later")
    parser.add_argument("--namespace", default="gpu-operator", help="of the GPU Operator and its ConfigMaps")
    parser.add_argument(
        "--operator", action="store_true", help="the GPU Operator is here or comes: no GPU without its ClusterPolicy"
    )
    parser.add_argument(
        "--grace", type=float, default=300.0, help="seconds for which the capacity of a plugin that went away is kept"
    )
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells of every request
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with Client(given.kubeconfig) as client:
            grace = timedelta(seconds=given.grace)
            Loop(client, given.state, space=given.namespace, operator=given.operator, grace=grace).run(stop)
    except PlimsollError as error:
        logging.error("%s", error)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
