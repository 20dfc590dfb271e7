"""The configuration of the lab's Prometheus."""

from __future__ import annotations

from typing import Any

import yaml

INTERVAL = "2s"


def config(listen: str, *, alertmanager: str = "") -> str:
    """prometheus.yml for a Prometheus that scrapes the telemetry at `listen`, host and port.

    Rules are read from `rules/*.yml` beside the file, more targets from `targets/*.json`. Alerts go to `alertmanager`,
    host and port, if there is one.
    """
    jobs = [_job("exporters", listen, honoured=False), _job("exporters-honoured", listen, honoured=True)]
    more = {"job_name": "more", "file_sd_configs": [{"files": ["targets/*.json"], "refresh_interval": INTERVAL}]}
    document: dict[str, Any] = {
        "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [*jobs, more],
    }
    if alertmanager:
        document["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return yaml.safe_dump(document, sort_keys=False)


def _job(name: str, listen: str, *, honoured: bool) -> dict[str, Any]:
    """One scrape configuration; the targets bring their own `job` label, path and, where they are many, interval."""
    url = f"http://{listen}/sd?honoured={str(honoured).lower()}"
    return {
        "job_name": name,
        "honor_labels": honoured,
        "http_sd_configs": [{"url": url, "refresh_interval": INTERVAL}],
    }
