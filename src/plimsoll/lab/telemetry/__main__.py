"""`python -m plimsoll.lab.telemetry --kubeconfig FILE --listen HOST:PORT`: serves until it is told to end."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path
from threading import Thread

from plimsoll.errors import Exit, PlimsollError
from plimsoll.kube.client import Client
from plimsoll.lab.telemetry.server import TelemetryServer
from plimsoll.lab.telemetry.watch import Watches
from plimsoll.lab.telemetry.world import World

_log = logging.getLogger("plimsoll.lab.telemetry")


def main() -> int:
    """The exit code. SIGTERM and SIGINT end it."""
    parser = argparse.ArgumentParser(prog="plimsoll.lab.telemetry", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells of every request
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdecimal():
        parser.error(f"--listen {options.listen}: not HOST:PORT")
    try:
        with Client(options.kubeconfig) as client:
            return _serve(client, host, int(port))
    except (PlimsollError, OSError) as error:
        _log.error("%s", error)
        return error.exit_code if isinstance(error, PlimsollError) else Exit.USAGE


def _serve(client: Client, host: str, port: int) -> int:
    world = World()
    watches = Watches(client, world)
    with TelemetryServer((host, port), world, watches.trouble) as server:

        def end(*_: object) -> None:
            Thread(target=server.shutdown).start()  # it waits for the loop that this handler interrupts

        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, end)
        watches.start()
        _log.info("serving on %s", server.at)
        server.serve_forever(poll_interval=0.2)
    watches.stop()
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
