"""A real Prometheus on a free port of the loopback, over samples that a test names."""

from __future__ import annotations

import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from plimsoll.errors import LabError
from plimsoll.lab.build import found

Exposed = tuple[str, Mapping[str, str], float, float]  # metric, labels, seconds since 1970, value


def programs() -> tuple[Path, Path]:
    """prometheus and promtool: they come with the lab's programs. Skips where they are absent."""
    try:
        lab = found.look(())
        return lab.path("prometheus"), lab.path("promtool")
    except LabError as error:
        if os.environ.get("CI"):
            raise  # there nothing may be skipped unseen
        pytest.skip(f"{error}; {error.hint}")


def quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def openmetrics(samples: Iterable[Exposed]) -> Iterator[str]:
    """Lines of the format that promtool makes blocks from."""
    for metric, labels, at, value in samples:
        inside = ",".join(f'{name}="{quoted(text)}"' for name, text in labels.items())
        yield f"{metric}{{{inside}}} {value!r} {at:.3f}\n"
    yield "# EOF\n"


@contextmanager
def serving(folder: Path, samples: Iterable[Exposed], *flags: str) -> Iterator[str]:
    """The address of a Prometheus that holds these samples until the block ends."""
    prometheus, promtool = programs()
    text, data = folder / "samples.om", folder / "tsdb"
    with text.open("w") as file:
        file.writelines(openmetrics(samples))
    made: list[str | Path] = [
        promtool,
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "--quiet",
        "--max-block-duration=720h",
        text,
        data,
    ]
    done = subprocess.run(made, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    config = folder / "prometheus.yml"
    config.write_text("scrape_configs: []\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv: list[str | Path] = [
        prometheus, f"--config.file={config}", f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error", *flags,
    ]  # fmt: skip
    with (folder / "prometheus.log").open("w") as log:
        server = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            _ready(f"http://127.0.0.1:{port}/-/ready", server, folder / "prometheus.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=60)


def _ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + 120
    while monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  our own, on the loopback
                return
        except (urllib.error.URLError, OSError):
            sleep(0.05)
    raise AssertionError(f"Prometheus is not ready: {log.read_text()}")
