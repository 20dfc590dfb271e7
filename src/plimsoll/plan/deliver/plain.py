"""By hand, or by `plimsoll apply`: what charts there are, and the values of each."""

from __future__ import annotations

from plimsoll.plan.deliver import yamltext
from plimsoll.plan.deliver.manifests import Files, head, values_file
from plimsoll.plan.deliver.steps import Step


def files(platform: str, steps: tuple[Step, ...]) -> Files:
    """charts.yaml, and the values of each chart."""
    found, charts = {}, []
    for step in steps:
        if (chart := step.chart) is not None:
            found[values_file(step)] = yamltext.stream([chart.values], head(platform))
            charts.append(
                {
                    "name": chart.name,
                    "namespace": chart.namespace,
                    "chart": chart.chart,
                    "repository": chart.repository,
                    "version": chart.version,
                    "values": values_file(step),
                }
            )
    if charts:
        found["charts.yaml"] = yamltext.stream([{"charts": charts}], head(platform))
    return found
