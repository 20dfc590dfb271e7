"""`plimsoll agent meter`: record who uses which GPU when."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import click

from plimsoll.cli import cost_options, options
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from plimsoll.agents.meter.gateway import Gateway
    from plimsoll.agents.meter.rounds import Source
    from plimsoll.agents.meter.serve import Server
    from plimsoll.spec.model import Platform


@click.command("meter")
@click.option("-f", "--platform", type=click.Path(path_type=Path), metavar="FILE",
              help="The declaration: whose namespace is whose, pools and their prices.")  # fmt: skip
@cost_options.ledger
@options.cluster
@click.option(
    "--name", metavar="NAME", help="Of this meter, where several keep one ledger. Default: meter, or the node."
)
@click.option("--node", metavar="NODE", envvar="PLIMSOLL_NODE", show_envvar=True,
              help="Meter this node alone, on it: its driver (NVML) and kubelet are asked, no exporter.")  # fmt: skip
@click.option("--watch-only", is_flag=True,
              help="Record nodes, pods and their ends, and leave who holds what to meters on the nodes.")  # fmt: skip
@click.option("--anew", is_flag=True, help="All nodes were replaced since this ledger was written last.")
@click.option("--discovery", metavar="URL", envvar="PLIMSOLL_DISCOVERY", show_envvar=True,
              help="Where exporters and model servers are, in the form of Prometheus' HTTP service discovery. "
              "Default: the pods that the cluster has.")  # fmt: skip
@click.option("--every", type=click.FloatRange(1, 300), default=30.0, show_default=True, metavar="SECONDS",
              help="From one reading to the next; exporters read their GPUs no more often.")  # fmt: skip
@click.option("--costs-every", type=click.FloatRange(0, 86_400), default=300.0, show_default=True, metavar="SECONDS",
              help="From one look at costs to the next, for /metrics; 0 for never.")  # fmt: skip
@click.option("--patience", type=click.FloatRange(0, 3600), default=90.0, show_default=True, metavar="SECONDS",
              help="How long a pod waits for a source to say which GPU it holds.")  # fmt: skip
@click.option("--gateway-log", type=click.Path(path_type=Path), metavar="FILE",
              help="An access log of a gateway, in JSON: whose each request is. It is followed.")  # fmt: skip
@click.option("--gateway-field", multiple=True, metavar="WHAT=NAME",
              help="What a field is called there, as in tenant=x-org; several times for several names.")  # fmt: skip
@click.option("--gateway-model", multiple=True, metavar="THEIRS=OURS",
              help="What a model of the gateway is called by its engines.")  # fmt: skip
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:9465", show_default=True,
              help="Where /metrics, /healthz and /readyz are; port 0 for any.")  # fmt: skip
def command(
    platform: Path | None,
    at: str | None,
    context: str | None,
    kubeconfig: Path | None,
    name: str | None,
    node: str | None,
    watch_only: bool,
    anew: bool,
    discovery: str | None,
    every: float,
    costs_every: float,
    patience: float,
    gateway_log: Path | None,
    gateway_field: tuple[str, ...],
    gateway_model: tuple[str, ...],
    listen: str,
) -> None:
    """Record who uses which GPU when: lifetimes from the API server's watches, readings from exporters.

    Runs until SIGTERM or SIGINT, and may be killed at any moment: begun again it goes on where it stood, and nothing
    is counted twice. Of the cluster it reads nodes, pods, ResourceClaims and ResourceSlices, and nothing else.

    \b
    plimsoll agent meter -f platform.yaml --ledger gpus.duckdb
    plimsoll agent meter -f platform.yaml --ledger postgresql://plimsoll@db/plimsoll
    """
    from plimsoll.agents.meter.book import Book
    from plimsoll.agents.meter.run import Meter, Settings
    from plimsoll.kube.client import Client

    host, port = _address(listen)
    if discovery is not None and not discovery.startswith(("http://", "https://")):
        raise click.BadParameter(f"{discovery} is no http(s) address", param_hint="--discovery")
    if watch_only and node:
        raise click.UsageError("--watch-only leaves devices to the meters that have a --node: give one of them")
    gateway = _gateway(gateway_log, gateway_field, gateway_model)
    declared = options.load_platform(platform)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("httpx2", "httpcore2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)  # they tell of every request
    called, at = name or node or "meter", at or cost_options.place()
    role = "" if watch_only else f"node {node}" if node else "cluster"
    book = Book(at, called, _retention(declared), role)
    settings = Settings(
        name=called, round=every, costs=costs_every, patience=patience, node=node or "", discovery=discovery or "",
        watch_only=watch_only, anew=anew,
    )  # fmt: skip
    stop = Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    with Client(kubeconfig, context) as client, _server(host, port, listen) as server:
        server.start()
        if not book.wait(stop):
            return
        server.meter = meter = Meter(client, declared, settings, book, _local(node), gateway)
        logging.getLogger("plimsoll").info("metering %s into the ledger; http://%s:%d/metrics", client.place,
                                           host, server.server_address[1])  # fmt: skip
        try:
            meter.run(stop)
        except PlimsollError:
            raise
        except Exception:  # after weeks it will not happen again for whoever sets a variable first
            logging.getLogger("plimsoll").exception("the meter ends")
            raise
        server.shutdown()


def _server(host: str, port: int, listen: str) -> Server:
    from plimsoll.agents.meter.serve import Server, Waiting

    try:
        return Server(host, port, Waiting())
    except OSError as error:
        raise click.BadParameter(f"{listen}: {error.strerror}", param_hint="--listen") from None


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise click.BadParameter(f"{listen} is no HOST:PORT", param_hint="--listen")
    return host.strip("[]"), int(port)


def _retention(declared: Platform | None) -> int:
    from plimsoll.spec.observability import Retention

    kept = declared.observability.retention if declared else Retention()
    return int(kept.ledger)


def _local(node: str | None) -> Source | None:
    if node is None:
        return None
    from plimsoll.agents.meter.local import Local

    return Local(node)


def _gateway(log: Path | None, names: tuple[str, ...], models: tuple[str, ...]) -> Gateway | None:
    from plimsoll.agents.meter.gateway import Fields, Gateway

    if log is None:
        if names or models:
            raise click.UsageError("--gateway-field and --gateway-model say how --gateway-log is read")
        return None
    fields: dict[str, tuple[str, ...]] = {}
    for each in names:
        what, _, name = each.partition("=")
        if what not in Fields.__struct_fields__ or not name:
            known = ", ".join(Fields.__struct_fields__)
            raise click.BadParameter(f"{each} is none of {known}, = and a name", param_hint="--gateway-field")
        fields[what] = (*fields.get(what, ()), name)
    called = [each.partition("=") for each in models]
    if wrong := next(("".join(each) for each in called if not each[0] or not each[2]), None):
        raise click.BadParameter(f"{wrong} is no THEIRS=OURS", param_hint="--gateway-model")
    return Gateway(log, fields=Fields(**fields), models={theirs: ours for theirs, _, ours in called})
