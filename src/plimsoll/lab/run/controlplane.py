"""The control plane: etcd, API server, controller manager, scheduler, and kwok, which plays the kubelets.

Flags as the programs' own help gives them; what differs from a production cluster is said where it stands.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import msgspec

from plimsoll.lab.build.found import Programs
from plimsoll.lab.run.network import LOOPBACK, Network
from plimsoll.lab.run.pki import Authority, Pair, kubeconfig, signing_key
from plimsoll.lab.run.process import Program
from plimsoll.lab.run.settings import Folder

_AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: None, verbs: [get, list, watch]}
  - {level: None, resources: [{group: coordination.k8s.io, resources: [leases]}]}
  - {level: None, resources: [{group: "", resources: [events]}, {group: events.k8s.io, resources: [events]}]}
  - {level: None, users: [kwok, plimsoll-hardware]}
  - {level: Metadata}
"""


class Access(msgspec.Struct, frozen=True):
    """Who may reach the API server how. Paths of kubeconfigs, but for `authority`, PEM."""

    server: str
    authority: bytes
    admin: Path
    manager: Path
    scheduler: Path
    kwok: Path
    hardware: Path
    viewer: Path


class ControlPlane:
    """Makes the keys and says what to run."""

    def __init__(self, folder: Folder, network: Network, programs: Programs) -> None:
        self._folder = folder
        self._network = network
        self._programs = programs
        self.port = network.port("api-server")
        self._etcd_port, self._etcd_peer = network.port(), network.port()
        self._probe_client: httpx2.AsyncClient | None = None
        self._make_keys()

    def programs(self) -> tuple[Program, ...]:
        """In the order they start."""
        return (self._etcd(), self._api_server(), self._manager(), self._scheduler(), self._kwok())

    def _make_keys(self) -> None:
        pki = self._folder.pki
        self._ca = Authority(pki, "ca")
        self._front = Authority(pki, "front-proxy-ca")
        hosts = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
        self._server = self._ca.sign(
            "apiserver", "kube-apiserver", hosts=(*hosts, "localhost", LOOPBACK, self._network.api_address)
        )
        self._aggregator = self._front.sign("front-proxy", "front-proxy-client")
        self._tokens = signing_key(pki, "service-accounts")
        self._admin = self._user("admin", "kubernetes-admin", "system:masters")
        server = f"https://{LOOPBACK}:{self.port}"
        outside = f"https://{LOOPBACK}:{self._network.doors['api-server']}"
        kubeconfig(self._folder.kubeconfig, outside, self._ca.pem, pair=self._admin)
        self.access = Access(
            server=server,
            authority=self._ca.pem,
            admin=kubeconfig(self._folder.pki / "admin.kubeconfig", server, self._ca.pem, pair=self._admin),
            manager=self._config("controller-manager", "system:kube-controller-manager"),
            scheduler=self._config("scheduler", "system:kube-scheduler"),
            kwok=self._config("kwok", "kwok", "system:masters"),
            hardware=self._config("hardware", "plimsoll-hardware", "system:masters"),
            viewer=self._config("viewer", "plimsoll-telemetry", "system:masters"),
        )

    def _user(self, name: str, user: str, *groups: str) -> Pair:
        return self._ca.sign(name, user, groups=groups)

    def _config(self, name: str, user: str, *groups: str) -> Path:
        path = self._folder.pki / f"{name}.kubeconfig"
        pair = self._user(name, user, *groups)
        return kubeconfig(path, f"https://{LOOPBACK}:{self.port}", self._ca.pem, pair=pair)

    def _etcd(self) -> Program:
        client, peer = f"http://{LOOPBACK}:{self._etcd_port}", f"http://{LOOPBACK}:{self._etcd_peer}"
        argv = [
            str(self._programs.path("etcd")),
            "--name=lab",
            f"--data-dir={self._folder.etcd}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=lab={peer}",
            "--unsafe-no-fsync",  # a lab may lose its last second with the machine, never with a process
            "--quota-backend-bytes=4294967296",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=5m",
            "--log-level=warn",
        ]
        return Program(name="etcd", argv=argv, ready=http_probe(f"{client}/health"))

    def _api_server(self) -> Program:
        policy = self._folder.root / "audit-policy.yaml"
        policy.write_text(_AUDIT)
        argv = [
            str(self._programs.path("kube-apiserver")),
            f"--etcd-servers=http://{LOOPBACK}:{self._etcd_port}",
            f"--secure-port={self.port}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            "--endpoint-reconciler-type=none",  # refuses loopback endpoints otherwise
            f"--service-cluster-ip-range={self._network.cidr}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={self._ca.files.cert}",
            f"--tls-cert-file={self._server.cert}",
            f"--tls-private-key-file={self._server.key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._tokens.cert}",
            f"--service-account-signing-key-file={self._tokens.key}",
            f"--requestheader-client-ca-file={self._front.files.cert}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={self._aggregator.cert}",
            f"--proxy-client-key-file={self._aggregator.key}",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self._folder.logs / 'audit.log'}",
            "--audit-log-maxsize=50",
            "--audit-log-maxbackup=1",
            "--max-requests-inflight=800",
            "--max-mutating-requests-inflight=400",
            f"--cert-dir={self._folder.pki}",
        ]
        ready = self._secure_probe("/readyz")
        return Program(name="kube-apiserver", argv=argv, ready=ready)

    def _manager(self) -> Program:
        port = self._network.port()
        config = self.access.manager
        argv = [
            str(self._programs.path("kube-controller-manager")),
            *_own(config, port, self._folder.pki),
            "--use-service-account-credentials=true",
            f"--root-ca-file={self._ca.files.cert}",
            f"--service-account-private-key-file={self._tokens.key}",
            f"--cluster-signing-cert-file={self._ca.files.cert}",
            f"--cluster-signing-key-file={self._ca.files.key}",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--horizontal-pod-autoscaler-sync-period=5s",  # 15 s by default, which makes every rehearsal long
            "--node-monitor-period=2s",
            "--concurrent-deployment-syncs=20",
            "--concurrent-replicaset-syncs=20",
        ]
        return Program(name="kube-controller-manager", argv=argv, ready=_https_up(port))

    def _scheduler(self) -> Program:
        port = self._network.port()
        argv = [
            str(self._programs.path("kube-scheduler")),
            *_own(self.access.scheduler, port, self._folder.pki),
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]
        return Program(name="kube-scheduler", argv=argv, ready=_https_up(port))

    def _kwok(self) -> Program:
        port = self._network.port()
        stages = sorted((Path(__file__).parent.parent / "stages").glob("*.yaml"))
        argv = [
            str(self._programs.path("kwok")),
            f"--kubeconfig={self.access.kwok}",
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40",
            "--cidr=10.64.0.0/10",
            f"--server-address={LOOPBACK}:{port}",
            *(f"--config={stage}" for stage in stages),
        ]
        return Program(
            name="kwok",
            argv=argv,
            ready=http_probe(f"http://{LOOPBACK}:{port}/healthz"),
        )

    def _secure_probe(self, path: str) -> Callable[[], Awaitable[bool]]:
        context = ssl.create_default_context(cafile=str(self._ca.files.cert))
        context.load_cert_chain(self._admin.cert, self._admin.key)
        return http_probe(f"https://{LOOPBACK}:{self.port}{path}", context)


def _own(config: Path, port: int, folder: Path) -> list[str]:
    """The flags that controller manager and scheduler share."""
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--cert-dir={folder / str(port)}",
        "--leader-elect=false",
    ]


def http_probe(url: str, verify: ssl.SSLContext | bool = True) -> Callable[[], Awaitable[bool]]:
    """Whether a GET of `url` answers 200."""

    async def probe() -> bool:
        async with httpx2.AsyncClient(verify=verify, timeout=2.0, trust_env=False) as client:
            return (await client.get(url)).status_code == httpx2.codes.OK

    return probe


def _https_up(port: int) -> Callable[[], Awaitable[bool]]:
    """Whether a program with a certificate of its own making answers."""
    return http_probe(f"https://{LOOPBACK}:{port}/healthz", False)
