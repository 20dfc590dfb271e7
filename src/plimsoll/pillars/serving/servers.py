"""How model servers are started, probed and stopped: V27 to V34, V38, V39."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, containers, get, items, mapping, name, namespace, number, text
from plimsoll.kube.served import Served, environment, flag, gpus_of, served, vllm_servers, vllm_version
from plimsoll.pillars.serving.state import down
from plimsoll.units import quantity

_READS = (kinds.DEPLOYMENT, kinds.STATEFUL_SET)
_EDIT = "kubectl -n <namespace> edit deploy <name>"
LOADING = 300  # seconds a server may need before it answers; published cold starts reach eleven minutes


def title(each: Served) -> str:
    return f"{text(each.obj, 'kind')} {namespace(each.obj)}/{name(each.obj)}"


def edit(each: Served, then: str) -> str:
    return f"kubectl -n {namespace(each.obj)} edit {text(each.obj, 'kind').lower()} {name(each.obj)}\n{then}"


def _seconds(text_: str | None) -> int:
    value = quantity(text_)
    return int(value) if value is not None else 0


@check("V27", Severity.WARNING, Layer.RISK, reads=_READS, remedy=_EDIT,
       source="llm-d/llm-d-benchmark#1734, gonka-ai/gonka#1421")  # fmt: skip
def liveness_survives_load(case: Case) -> Iterator[Finding]:
    """A busy model server is not taken for dead.

    Under load `/health` can take seconds to answer. Kubernetes waits one second unless told otherwise,
    restarts the server, its load goes to the others, and they are restarted next.
    """
    for each, at, container in vllm_servers(case.snapshot):
        probe = mapping(container, "livenessProbe")
        if "httpGet" in probe and number(probe, "timeoutSeconds") < 5:
            yield case.finding(
                each.obj,
                f"{title(each)} is restarted when /health takes over {number(probe, 'timeoutSeconds') or 1} s",
                f"{at}.livenessProbe.timeoutSeconds",
                f"{at}.livenessProbe.failureThreshold",
                remedy=edit(each, "livenessProbe: timeoutSeconds: 10, periodSeconds: 10, failureThreshold: 6"),
            )


@check("V28", Severity.WARNING, Layer.RISK, reads=_READS, remedy=_EDIT,
       source="vLLM docs/deployment/k8s (troubleshooting)")  # fmt: skip
def loading_is_not_killed(case: Case) -> Iterator[Finding]:
    """A model server is given the time it needs to load.

    Without a startup probe the liveness probe counts from its initial delay. Weights, compilation and
    graph capture take minutes, so the server is killed while loading and starts over: the log ends in
    `KeyboardInterrupt: terminated`, again and again.
    """
    for each, at, container in vllm_servers(case.snapshot):
        live, start = mapping(container, "livenessProbe"), mapping(container, "startupProbe")
        probe, kind = (start, "startupProbe") if start else (live, "livenessProbe")
        if not probe:
            continue  # nothing kills it
        patience = number(probe, "initialDelaySeconds") + (number(probe, "periodSeconds") or 10) * (
            number(probe, "failureThreshold") or 3
        )
        if patience < LOADING:
            yield case.finding(
                each.obj,
                f"{title(each)} is killed if its model is not loaded after {patience} s",
                f"{at}.startupProbe",
                f"{at}.livenessProbe.initialDelaySeconds",
                seen={f"{kind}: seconds until restart": patience},
                remedy=edit(each, "startupProbe: httpGet /health, periodSeconds: 10, failureThreshold: 60"),
            )


def _pause(container: Obj) -> int | None:
    """Seconds the preStop hook holds a container; None without a hook, 0 where that cannot be told."""
    hook = mapping(container, "lifecycle", "preStop")
    if not hook:
        return None
    command = get(hook, "exec", "command")
    spoken = " ".join(part for part in command if isinstance(part, str)) if isinstance(command, list) else ""
    _, _, rest = spoken.partition("sleep ")
    return number(hook, "sleep", "seconds") or _seconds(rest.split()[0].rstrip(";s") if rest.split() else None)


@check("V29", Severity.WARNING, Layer.RISK, reads=_READS, remedy=_EDIT,
       source="vLLM 0.32 measured (HTTP 500 after SIGTERM while /health says 200)")  # fmt: skip
def requests_drain_before_stop(case: Case) -> Iterator[Finding]:
    """A model server waits before it stops, until nobody sends it requests.

    Endpoints take seconds to forget a pod that ends. vLLM refuses new requests with HTTP 500 as soon as it
    gets the signal, while its health check still says 200. A preStop sleep of 15 seconds bridges that, at
    every scale-down, rollout and node drain.
    """
    for each, at, container in vllm_servers(case.snapshot):
        if _pause(container) is None:
            yield case.finding(
                each.obj,
                f"{title(each)} stops without a preStop hook, so every scale-down answers some requests with errors",
                f"{at}.lifecycle.preStop",
                f"{each.at}.spec.terminationGracePeriodSeconds",
                remedy=edit(
                    each,
                    "lifecycle: {preStop: {sleep: {seconds: 15}}}\nterminationGracePeriodSeconds: 90\nargs: "
                    "--shutdown-timeout=45 (vLLM 0.18 and later)",
                ),
            )


@check("V30", Severity.INFO, Layer.RISK, reads=_READS, remedy=_EDIT,
       source="vLLM --shutdown-timeout (since 0.18, default 0 aborts)")  # fmt: skip
def running_requests_finish(case: Case) -> Iterator[Finding]:
    """A model server that is told to stop finishes the answers it has begun.

    vLLM's `--shutdown-timeout` is 0 unless set: streams end in the middle, without an error the client
    could see, and the process stays until the grace period kills it.
    """
    for each, at, container in vllm_servers(case.snapshot):
        running = vllm_version(each.template)
        if flag(container, "--shutdown-timeout") in (None, "0"):
            old = bool(running) and running < (0, 18)
            yield case.finding(
                each.obj,
                f"{title(each)} cuts the answers it is writing when it stops: --shutdown-timeout is not set",
                f"{at}.args",
                remedy=edit(each, "upgrade to vLLM 0.18 or later first" if old else "args: --shutdown-timeout=45"),
            )


@check("V31", Severity.WARNING, Layer.RISK, reads=_READS, remedy=_EDIT,
       source="vLLM drain measured (13 s of teardown); KServe defaults")  # fmt: skip
def grace_covers_the_drain(case: Case) -> Iterator[Finding]:
    """The grace period is longer than everything the server does to stop.

    Kubernetes counts the preStop hook into the grace period and kills what is left at its end. It has to
    cover the hook, the shutdown timeout, and about 15 seconds for the worker to let go of the GPU.
    """
    for each, at, container in vllm_servers(case.snapshot):
        pause, drain = _pause(container) or 0, _seconds(flag(container, "--shutdown-timeout"))
        stated = get(each.template, "spec", "terminationGracePeriodSeconds")
        grace = stated if isinstance(stated, int) else 30
        if pause + drain and grace <= pause + drain:
            yield case.finding(
                each.obj,
                f"{title(each)} is killed after {grace} s, before its {pause} s pause and {drain} s drain are over",
                f"{each.at}.spec.terminationGracePeriodSeconds",
                f"{at}.lifecycle.preStop",
                seen={"--shutdown-timeout": drain},
                remedy=edit(each, f"terminationGracePeriodSeconds: {pause + drain + 15}"),
            )


@check("V32", Severity.WARNING, Layer.RISK, reads=_READS, remedy=_EDIT,
       source="vLLM docs/deployment/k8s (shared memory); llm-d/llm-d#352")  # fmt: skip
def parallel_servers_have_shared_memory(case: Case) -> Iterator[Finding]:
    """A server that spreads a model over several GPUs has shared memory to do it.

    The workers exchange tensors through /dev/shm, 64 MiB unless a memory volume is mounted there. NCCL
    needs about 200 MiB for each rank; when it runs full the server crashes, and a restart keeps the
    volume as full as it was.
    """
    for each, at, container in vllm_servers(case.snapshot):
        ranks = max(gpus_of(container), _seconds(flag(container, "--tensor-parallel-size") or flag(container, "-tp")))
        room = _shared_memory(each.template, container)
        if ranks < 2 or room is None or room >= 1:
            continue
        yield case.finding(
            each.obj,
            f"{title(each)} runs {ranks} ranks with {'64 MiB' if not room else f'{room:.2f} GiB'} of shared memory",
            f"{at}.volumeMounts",
            f"{each.at}.spec.volumes",
            seen={"ranks": ranks},
            remedy=edit(
                each, "volumes: [{name: shm, emptyDir: {medium: Memory, sizeLimit: 8Gi}}], mounted at /dev/shm"
            ),
        )


def _shared_memory(template: Obj, container: Obj) -> float | None:
    """GiB at /dev/shm; 0 for the default of 64 MiB, None for as much as the pod may use."""
    mounts = {text(each, "name") for each in items(container, "volumeMounts") if each.get("mountPath") == "/dev/shm"}  # noqa: S108
    for volume in items(template, "spec", "volumes"):
        if text(volume, "name") in mounts:
            limit = quantity(get(volume, "emptyDir", "sizeLimit"))
            return float(limit) / 2**30 if limit is not None else None
    return None if get(template, "spec", "hostIPC") is True else 0.0


@check("V33", Severity.WARNING, Layer.RISK, reads=(*_READS, kinds.SERVICE),
       remedy="kubectl get svc -A --field-selector metadata.name=vllm",
       source="vLLM docs/configuration/env_vars; vllm-project/vllm#15613")  # fmt: skip
def no_service_is_named_vllm(case: Case) -> Iterator[Finding]:
    """No Service named vllm stands in a namespace where vLLM runs.

    Kubernetes writes the address of every Service into the environment of the pods beside it. From one
    named `vllm` comes `VLLM_PORT=tcp://…`, which vLLM reads as its port, and it ends at once with `invalid
    literal for int()`. It strikes at the next start of a pod.
    """
    for each, _, container in vllm_servers(case.snapshot):
        here = namespace(each.obj)
        service = case.snapshot.get(kinds.SERVICE, "vllm", here)
        if service is None or get(each.template, "spec", "enableServiceLinks") is False:
            continue
        if "VLLM_PORT" in environment(container):
            continue  # what the pod sets itself wins
        broken = each.token in down(case.snapshot)
        yield case.finding(
            each.obj,
            f"{title(each)} gets VLLM_PORT=tcp://… from Service {here}/vllm and "
            + ("cannot start" if broken else "will not start again"),
            f"{each.at}.spec.enableServiceLinks",
            seen={"Service": f"{here}/vllm", "VLLM_PORT in the pod": f"tcp://{text(service, 'spec', 'clusterIP')}:…"},
            affects=down(case.snapshot)[each.token].affects if broken else [],
            severity=Severity.ERROR if broken else None,
            layer=Layer.SCHEDULING if broken else None,  # deeper than the crash it causes
            remedy=edit(each, f"enableServiceLinks: false\nor rename the Service: kubectl -n {here} get svc vllm"),
        )


@check("V34", Severity.WARNING, Layer.RISK, reads=_READS, remedy=_EDIT,
       source="vLLM docs/configuration/optimization (2 + N cores for N GPUs)")  # fmt: skip
def servers_have_cpu(case: Case) -> Iterator[Finding]:
    """A model server asks for the CPU its engine needs.

    vLLM runs an API server, an engine loop and a worker for each GPU. With fewer cores than 2 + N they take
    turns, and the GPU waits for them: low throughput at a GPU that looks half idle.
    """
    for each, at, container in vllm_servers(case.snapshot):
        cpu, ranks = quantity(get(container, "resources", "requests", "cpu")), gpus_of(container)
        if cpu is not None and ranks and cpu < 2 + ranks:
            yield case.finding(
                each.obj,
                f"{title(each)} asks for {cpu.normalize():f} CPU beside {ranks} GPU{'s' if ranks > 1 else ''}; "
                f"vLLM needs {2 + ranks} cores",
                f"{at}.resources.requests.cpu",
                f"{at}.resources.limits",
                remedy=edit(each, f"requests: {{cpu: {2 * (2 + ranks)}}}   # two threads a core"),
            )


@check("V38", Severity.WARNING, Layer.RISK, reads=_READS, remedy=_EDIT,
       source="vLLM releases (metrics renamed, compile caches keyed by version)")  # fmt: skip
def servers_pin_their_version(case: Case) -> Iterator[Finding]:
    """A model server names the version it runs.

    With `latest` or no tag, the next node that pulls gets another vLLM than the replicas beside it: other
    flags, renamed metrics the autoscaler asks for, a compile cache that no longer fits.
    """
    for each in served(case.snapshot):
        for path, container in containers(each.template):
            image = text(container, "image")
            tag = image.rpartition("/")[2].partition(":")[2]
            if gpus_of(container) and "@sha256:" not in image and tag in ("", "latest", "nightly", "main"):
                yield case.finding(
                    each.obj,
                    f"{title(each)} runs {image}, whatever that is when a node pulls it",
                    f"{each.at}.{path}.image",
                    remedy=edit(each, "name a release and its digest: image: …:v0.33.0@sha256:…"),
                )
                break


@check("V39", Severity.ERROR, Layer.RISK, reads=_READS, remedy=_EDIT,
       source="vLLM docs/usage/security (development endpoints)")  # fmt: skip
def no_development_endpoints(case: Case) -> Iterator[Finding]:
    """No model server offers vLLM's development endpoints.

    `VLLM_SERVER_DEV_MODE=1` adds `/collective_rpc`, which runs methods inside the workers, and `/sleep`,
    which takes the model off the GPU. They ask for no key: who reaches the port can stop the service
    or run code in it.
    """
    for each, at, container in vllm_servers(case.snapshot):
        if str(environment(container).get("VLLM_SERVER_DEV_MODE", "0")).lower() in ("1", "true"):
            yield case.finding(
                each.obj,
                f"{title(each)} runs with VLLM_SERVER_DEV_MODE=1: anybody who reaches it can control it",
                f"{at}.env[VLLM_SERVER_DEV_MODE].value",
                remedy=edit(each, "remove VLLM_SERVER_DEV_MODE; if sleep mode needs it, open the port\n"
                            "to its controller alone by NetworkPolicy"),
            )  # fmt: skip
