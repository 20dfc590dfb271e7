"""The dashboard of services."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.grafana import Board, Panel, Query, Row, Variable
from plimsoll.pillars.observability.pack.serving import latency

_SERVICE = 'namespace=~"$namespace", service=~"$service"'


def _latency(of: str, title: str) -> Panel:
    return Panel(
        title=title,
        about="Of half and of 95 of a hundred requests, and what the declaration allows.",
        unit="s",
        queries=(
            *(
                Query(latency(of, share, _SERVICE), f"{{{{service}}}} {name}")
                for name, share in (("p50", "0.5"), ("p95", "0.95"))
            ),
            Query(f"plimsoll:service_{of}_objective:seconds{{{_SERVICE}}}", "{{service}} {{quantile}} allowed"),
        ),
    )


SERVING = Board(
    uid="plimsoll-serving",
    title="Serving",
    about="Models behind an address: what callers wait for, what waits, and how many replicas answer.",
    variables=(
        Variable("namespace", "Namespace", "plimsoll:service_most:replicas", "namespace"),
        Variable("service", "Service", 'plimsoll:service_most:replicas{namespace=~"$namespace"}', "service"),
    ),
    rows=(
        Row(
            "What callers feel",
            (
                _latency("ttft", "Time to the first token"),
                _latency("itl", "Time between tokens"),
                _latency("e2e", "Time of the whole answer"),
            ),
        ),
        Row(
            "Load",
            (
                Panel(
                    title="Requests that wait and run",
                    about="Waiting ones are what replicas are added for.",
                    queries=(
                        Query(f"plimsoll:service_waiting:requests{{{_SERVICE}}}", "{{service}} waiting"),
                        Query(f"plimsoll:service_running:requests{{{_SERVICE}}}", "{{service}} running"),
                    ),
                ),
                Panel(
                    title="KV cache",
                    about="Mean over replicas. Full, with requests that wait: memory is the bound.",
                    unit="percentunit",
                    most=1,
                    queries=(Query(f"plimsoll:service_kv_cache:ratio{{{_SERVICE}}}", "{{service}}"),),
                ),
                Panel(
                    title="Replicas",
                    about="That answer, and between what the declaration lets them be.",
                    queries=(
                        Query(f"plimsoll:service_answering:replicas{{{_SERVICE}}}", "{{service}}"),
                        Query(f"plimsoll:service_least:replicas{{{_SERVICE}}}", "{{service}} least"),
                        Query(f"plimsoll:service_most:replicas{{{_SERVICE}}}", "{{service}} most"),
                    ),
                ),
                Panel(
                    title="Answers",
                    about="A second; what clients broke off is not among them.",
                    unit="reqps",
                    queries=(Query(f"plimsoll:service_request_success:rate5m{{{_SERVICE}}}", "{{service}}"),),
                ),
                Panel(
                    title="Tokens",
                    about="A second: read and written.",
                    queries=(
                        Query(f"plimsoll:service_prompt_tokens:rate5m{{{_SERVICE}}}", "{{service}} in"),
                        Query(f"plimsoll:service_generation_tokens:rate5m{{{_SERVICE}}}", "{{service}} out"),
                    ),
                ),
                Panel(
                    title="Found in the prefix cache",
                    about="Share of prompt tokens that were not computed again.",
                    unit="percentunit",
                    most=1,
                    queries=(
                        Query(
                            f"sum by (service) (rate(vllm:prefix_cache_hits_total{{{_SERVICE}}}[5m])) "
                            f"/ sum by (service) (rate(vllm:prefix_cache_queries_total{{{_SERVICE}}}[5m]))",
                            "{{service}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Trouble",
            (
                Panel(
                    title="Put back",
                    about="Running requests whose cache was taken; they are computed again.",
                    unit="reqps",
                    queries=(Query(f"plimsoll:service_num_preemptions:rate5m{{{_SERVICE}}}", "{{service}}"),),
                ),
                Panel(
                    title="Turned away",
                    about="The queue is as long as it may be.",
                    unit="reqps",
                    queries=(Query(f"plimsoll:service_admission_rejections:rate5m{{{_SERVICE}}}", "{{service}}"),),
                ),
                Panel(
                    title="Answers by how they ended",
                    about="length: cut at the limit; abort: the client left; error: ours.",
                    unit="reqps",
                    stack=True,
                    queries=(
                        Query(
                            f"sum by (finished_reason) (rate(vllm:request_success_total{{{_SERVICE}}}[5m]))",
                            "{{finished_reason}}",
                        ),
                    ),
                ),
                Panel(
                    title="What KEDA sees",
                    about="The number each trigger hands to the autoscaler.",
                    queries=(
                        Query(
                            'max by (scaledObject, metric) (keda_scaler_metrics_value{namespace=~"$namespace"})',
                            "{{scaledObject}} {{metric}}",
                        ),
                    ),
                ),
                Panel(
                    title="Triggers that fail",
                    about="In ten minutes. While they do, the service keeps what it has.",
                    queries=(
                        Query(
                            "sum by (scaledObject) "
                            '(increase(keda_scaler_detail_errors_total{namespace=~"$namespace"}[10m]))',
                            "{{scaledObject}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
