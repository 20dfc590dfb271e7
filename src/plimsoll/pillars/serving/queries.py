"""Queries that will not say what is meant, before they fail: V01 to V08, V18, V49."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import get, namespace
from plimsoll.kube.served import (
    find_target,
    flag,
    target_token,
    template_of,
    vllm_container,
    vllm_servers,
    vllm_version,
)
from plimsoll.pillars.serving.metricnames import GONE, SINCE, say, used
from plimsoll.pillars.serving.state import broken_trigger
from plimsoll.pillars.serving.triggers import EDIT, edit, prometheus_triggers, replica_range
from plimsoll.units import quantity

_AGGREGATES = re.compile(
    r"\b(sum|avg|max|min|count|quantile|topk|bottomk|group|stddev|scalar|vector|absent)\s*(\(|by\b|without\b)"
)
_GPU_BUSY = re.compile(
    r"DCGM_FI_(DEV_GPU_UTIL|PROF_GR_ENGINE)\w*|nvidia_smi_utilization_gpu\w*|gpu_utilization|duty_cycle", re.IGNORECASE
)
_SELECTED = re.compile(r"\{[^}]*\b(namespace|model_name|model|job|pod|service|container|exported_namespace)\s*(=|=~)")


@check("V01", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,),
       remedy=EDIT, source="vLLM docs/contributing/deprecation_policy, releases 0.8.5 to 0.33.0")  # fmt: skip
def queries_name_existing_metrics(case: Case) -> Iterator[Finding]:
    """Every trigger asks for a metric that the running vLLM has.

    vLLM renames metrics: `gpu_cache_usage_perc` is gone since 0.12, `time_per_output_token_seconds` since
    0.15. Prometheus answers a query for a name that does not exist with nothing, KEDA takes nothing for
    0, and the service never grows again after an upgrade. An error where the image's tag shows that the
    running version lacks the metric, else a warning.
    """
    for each in prometheus_triggers(case.snapshot):
        aim = find_target(case.snapshot, each.scaled)
        running = vllm_version(template_of(aim)[1]) if aim is not None else ()
        names = [title for _, title in used(each.query)]
        for title in names:
            gone, since = GONE.get(title), SINCE.get(title)
            if gone and gone.instead in names:
                continue  # the query covers both names
            if gone and (not running or running >= gone.since):
                what = f"vllm:{title}, which vLLM {say(gone.since)} and later do not have"
                then = f"ask for vllm:{gone.instead} instead" if gone.instead else "ask for vllm:num_requests_waiting"
            elif since and running and running < since:
                what, then = (
                    f"vllm:{title}, which only vLLM {say(since)} and later have",
                    "upgrade vLLM, or use its name",
                )
            else:
                continue
            yield case.finding(
                each.scaled,
                f"{each.where} asks for {what}" + (f"; {say(running)} runs" if running else ""),
                f"{each.at}.query",
                seen={"vLLM": say(running) if running else "version not in the image tag"},
                affects=[target_token(each.scaled)] if running else [],
                remedy=edit(each.scaled, then),
                severity=Severity.ERROR if running else None,
                layer=Layer.SCALER if running else None,
            )
            break


@check("V02", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="volcano-sh/kthena#868; vLLM metrics docs")  # fmt: skip
def vllm_names_have_a_colon(case: Case) -> Iterator[Finding]:
    """Queries to Prometheus write vLLM's metrics with a colon.

    vLLM exports `vllm:num_requests_waiting`. The form with an underscore exists only behind an adapter
    or collector that renames it; in plain Prometheus it matches nothing, which KEDA takes for no load.
    """
    for each in prometheus_triggers(case.snapshot):
        names = [title for separator, title in used(each.query) if separator == "_"]
        if names and not any(separator == ":" for separator, _ in used(each.query)):
            yield case.finding(
                each.scaled,
                f"{each.where} asks for vllm_{names[0]}; vLLM's name is vllm:{names[0]}",
                f"{each.at}.query",
                remedy=edit(each.scaled, f"write vllm:{names[0]}, unless your collector renames metrics"),
            )


@check("V03", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="keda pkg/scalers/prometheus_scaler (multiple elements)")  # fmt: skip
def queries_give_one_series(case: Case) -> Iterator[Finding]:
    """Every trigger's query gives one series however many pods there are.

    KEDA refuses an answer with more than one series. A query without sum() or max() works with one
    pod, scales to two, and freezes there: each pod is a series of its own.
    """
    for each in prometheus_triggers(case.snapshot):
        broken = broken_trigger(case.snapshot, each.scaled)
        if (
            _AGGREGATES.search(each.query)
            or replica_range(each.scaled)[1] <= 1
            or (broken and broken.kind == "multiple")
        ):
            continue
        yield case.finding(
            each.scaled,
            f"{each.where} asks for one series per pod, and KEDA takes only one",
            f"{each.at}.query",
            "spec.maxReplicaCount",
            remedy=edit(each.scaled, f"query: sum({each.query})"),
        )


@check("V04", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="vLLM v1/metrics/loggers (label model_name)")  # fmt: skip
def vllm_label_is_model_name(case: Case) -> Iterator[Finding]:
    """Queries select a model by the label vLLM writes, `model_name`.

    A selector `model="…"` matches no series of vLLM, the answer is empty, KEDA takes it for 0.
    """
    for each in prometheus_triggers(case.snapshot):
        if used(each.query) and re.search(r"[{,]\s*model\s*(=|!=|=~|!~)", each.query):
            yield case.finding(
                each.scaled,
                f"{each.where} selects by the label model; vLLM writes model_name",
                f"{each.at}.query",
                remedy=edit(each.scaled, "write model_name instead of model in the query's braces"),
            )


@check("V05", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="kedacore/keda#3065; prometheus_scaler ignoreNullValues default true")  # fmt: skip
def missing_metrics_are_not_zero(case: Case) -> Iterator[Finding]:
    """A service does not shrink because its metric is missing.

    KEDA's Prometheus trigger takes an empty answer for 0 unless `ignoreNullValues` is "false". When
    Prometheus restarts or stops scraping the pods at the busiest hour, the service is scaled to its
    minimum, and without a fallback nothing stands against it.
    """
    for each in prometheus_triggers(case.snapshot):
        if each.meta("ignoreNullValues").lower() in ("false", "f", "0") or get(each.scaled, "spec", "fallback"):
            continue
        low = replica_range(each.scaled)[0]
        yield case.finding(
            each.scaled,
            f"{each.where} takes a missing metric for no load, and there is no fallback: "
            f"if Prometheus loses the pods the service falls to {low} replica{'' if low == 1 else 's'}",
            f"{each.at}.ignoreNullValues",
            "spec.fallback",
            "spec.minReplicaCount",
            remedy=edit(
                each.scaled,
                'set ignoreNullValues: "false" on the trigger, and\nspec.fallback: {failureThreshold: 3, replicas: '
                f"{max(low, 1)}, behavior: currentReplicasIfHigher}}",
            ),
        )


@check("V06", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="vLLM metrics docs (1 means 100 percent usage)")  # fmt: skip
def cache_threshold_is_a_fraction(case: Case) -> Iterator[Finding]:
    """A trigger on cache usage has a threshold between 0 and 1.

    `kv_cache_usage_perc` is a fraction in spite of its name. A threshold of 80 asks for eighty full
    caches: the service never grows.
    """
    for each in prometheus_triggers(case.snapshot):
        limit = quantity(each.meta("threshold"))
        if limit and limit > 1 and re.search(r"cache_usage_perc", each.query) and "100" not in each.query:
            yield case.finding(
                each.scaled,
                f"{each.where} waits for a cache usage of {limit}, and the metric ends at 1",
                f"{each.at}.threshold",
                f"{each.at}.query",
                remedy=edit(each.scaled, 'threshold: "0.8"'),
            )


@check("V07", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="NVIDIA/dcgm-exporter#301, bentoml/Yatai#500")  # fmt: skip
def load_is_not_gpu_utilisation(case: Case) -> Iterator[Finding]:
    """No service is scaled by GPU utilisation.

    Utilisation says that some kernel ran, not how much room is left: one request alone keeps it near
    100 %. A service scaled by it goes to its maximum and stays there.
    """
    for each in prometheus_triggers(case.snapshot):
        if found := _GPU_BUSY.search(each.query):
            yield case.finding(
                each.scaled,
                f"{each.where} scales by GPU utilisation ({found.group(0)}), which one request fills",
                f"{each.at}.query",
                remedy=edit(
                    each.scaled, "query: sum(vllm:num_requests_waiting) or tokens in flight, or latency over its SLO"
                ),
            )


@check("V08", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="defilantech/LLMKube#482; vLLM --max-num-seqs")  # fmt: skip
def running_threshold_can_be_reached(case: Case) -> Iterator[Finding]:
    """A threshold on running requests is below what one replica can run.

    `num_requests_running` stops at `--max-num-seqs`; what is more waits. A threshold at or above that
    cap is never passed, so the queue grows and the service does not.
    """
    for each in prometheus_triggers(case.snapshot):
        limit = quantity(each.meta("threshold"))
        if {title for _, title in used(each.query)} != {"num_requests_running"} or limit is None:
            continue
        aim = find_target(case.snapshot, each.scaled)
        found = vllm_container(template_of(aim)[1]) if aim is not None else None
        stated = quantity(flag(found[1], "--max-num-seqs")) if found else None
        cap = stated or 1024  # the largest default, of GPUs with 70 GiB and more
        if limit >= cap:
            yield case.finding(
                each.scaled,
                f"{each.where} waits for {limit} running requests, and a replica runs at most {cap}",
                f"{each.at}.threshold",
                seen={"--max-num-seqs": str(stated) if stated else "not set; at most 1024"},
                remedy=edit(
                    each.scaled, f"scale by vllm:num_requests_waiting, or set threshold near {int(cap * 7 / 10)}"
                ),
            )


@check("V18", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="llm-d/llm-d-autoscaling#1019 (22,745 pods asked for); HPA algorithm")  # fmt: skip
def queue_totals_are_averaged(case: Case) -> Iterator[Finding]:
    """A total over all pods is compared per replica.

    With metricType Value the HPA multiplies the present replicas by total ÷ threshold at every step. A
    queue does not shrink while new pods load, so each step multiplies again, up to the maximum.
    """
    for each in prometheus_triggers(case.snapshot):
        kind = get(each.scaled, "spec", "triggers", each.place, "metricType")
        if kind == "Value" and re.search(r"\bsum\s*(\(|by\b)", each.query):
            yield case.finding(
                each.scaled,
                f"{each.where} compares a total with its threshold as Value, so replicas multiply",
                f"spec.triggers[{each.place}].metricType",
                f"{each.at}.query",
                remedy=edit(each.scaled, "metricType: AverageValue, with the threshold one replica can bear"),
            )


@check("V49", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT, kinds.DEPLOYMENT), remedy=EDIT,
       source="vLLM metric labels")  # fmt: skip
def queries_read_their_own_service(case: Case) -> Iterator[Finding]:
    """Where several models are served, each trigger selects its own.

    `sum(vllm:num_requests_waiting)` adds up every vLLM that Prometheus scrapes. With a second model in the
    cluster one service grows on the other's load, and both shrink together.
    """
    services = {each.token for each, _, _ in vllm_servers(case.snapshot)}
    for each in prometheus_triggers(case.snapshot):
        if len(services) > 1 and used(each.query) and not _SELECTED.search(each.query) and not each.meta("namespace"):
            yield case.finding(
                each.scaled,
                f"{each.where} adds up the load of all {len(services)} vLLM services of the cluster",
                f"{each.at}.query",
                seen={"vLLM services": ", ".join(sorted(services)[:5])},
                remedy=edit(each.scaled, f'add a selector: {{namespace="{namespace(each.scaled)}", model_name="…"}}'),
            )
