"""How to reach a cluster: the kubeconfig, its credentials, and words for what goes wrong on the way.

lightkube reads the kubeconfig and authenticates; its typed models are left aside, because we want
objects as the API server writes them. Only this module knows lightkube.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
import yaml
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG, KubeConfig, SingleConfig
from lightkube.config.models import Cluster, Context, User
from lightkube.core.exceptions import ConfigError

from plimsoll.errors import ClusterError, InputError

PAGE = 500  # objects; what client-go's pager asks for
PAGES_MAX = 20_000  # a server that always has one page more would never let us end
PAUSES = (0.25, 1.0, 4.0)  # seconds before each further try; longer outages are the cluster's finding, not ours
BUSY = (429, 500, 502, 503, 504)
LOGIN = "`kubectl get nodes` must work with the same kubeconfig and context first"
PLUGIN_ERRORS = (ConfigError, OSError, ValueError, LookupError)  # of the credential plugin, which runs on demand
for _each in (Cluster, Context, User):
    msgspec.json.Decoder(_each)  # described here, once, before there are threads: see plimsoll.spec.load
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")  # keys of a kubeconfig
_PAUSE_MAX = 10.0  # seconds; a Retry-After above this is not waited for
_TIMEOUT = httpx2.Timeout(10.0, read=60.0)  # seconds; a page of 500 large objects takes a slow server many


def wait(answer: httpx2.Response, pause: float) -> float:
    """Seconds the server asks us to wait, within reason."""
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), _PAUSE_MAX) if asked.isascii() and asked.isdigit() else pause


def path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def why(error: BaseException) -> str:
    """What a failed connection says, in words that hold no address with a password (a proxy's may)."""
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    said = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "its certificate is not signed by the authority the kubeconfig names"
    return type(error).__name__ if "@" in said else said


def plugin(error: BaseException) -> str:
    """Which credential command failed; not what it printed, which may hold a token."""
    if isinstance(error, ConfigError):
        return str(error).partition(":")[0]
    if isinstance(error, OSError):
        return f"{error.filename or 'the credential command'}: {error.strerror or type(error).__name__}"
    return "the credential command printed no token"


@dataclass
class _Params(ConnectionParams):
    """What lightkube hands on to the HTTP client, and the pool's limits, which it does not offer."""

    # Without a cap on connections: every thread has one request under way, or one watch; a cap would let watches
    # starve requests.
    limits: httpx2.Limits = field(
        default_factory=lambda: httpx2.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=30.0)
    )


def _loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def client(config: SingleConfig) -> httpx2.Client:
    """An HTTP client that logs in to the cluster of a context. Raises InputError that names the file."""
    if config.user is None:
        config = config._replace(user=User())
    try:
        # As for every Kubernetes client written in Go, a proxy of the environment is not for loopback.
        return Client(config, _Params(timeout=_TIMEOUT, trust_env=not _loopback(config.cluster.server)))
    except (ConfigError, ssl.SSLError, OSError, ValueError, ImportError, httpx2.InvalidURL) as error:
        file = getattr(error, "filename", None) or config.fname or config.context_name
        what = error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__
        raise InputError(
            f"context {config.context_name} cannot be used: {str(error) if isinstance(error, ConfigError) else what}",
            where=str(file),
            hint=LOGIN,
        ) from None


def config(context: str | None, kubeconfig: Path | None) -> SingleConfig:
    """The context to use. Raises InputError that names the file."""
    if kubeconfig is not None:
        return _from_files([kubeconfig], context)
    named = [Path(each) for each in os.environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    default = Path(DEFAULT_KUBECONFIG).expanduser()
    if named or default.is_file():
        return _from_files(named or [default], context)
    try:
        config = KubeConfig.from_service_account().get()
    except (ConfigError, KeyError, OSError):
        config = None
    if config is None or context is not None:
        raise ClusterError(
            "no kubeconfig, and not inside a cluster",
            where=str(default),
            hint="give --kubeconfig FILE or set $KUBECONFIG; or judge a file: `plimsoll check SNAPSHOT`",
        )
    return config._replace(context_name="in-cluster")


@contextmanager
def written(context: str | None, kubeconfig: Path | None) -> Iterator[Path]:
    """A kubeconfig whose current context is the one to use, for a program that takes a file; gone afterwards."""
    chosen = config(context, kubeconfig)
    document = yaml.safe_load(chosen.fname.read_text()) if chosen.fname else _inside(chosen)
    for part in ("cluster", "user"):
        for entry in document.get(f"{part}s") or []:
            fields = entry.get(part) or {}
            fields |= {key: str(chosen.abs_file(fields[key])) for key in _FILES if fields.get(key)}
    with tempfile.TemporaryDirectory(prefix="plimsoll-kube-") as folder:  # for its owner alone
        file = Path(folder) / "config"
        file.write_text(yaml.safe_dump(document | {"current-context": chosen.context_name}))
        yield file


def _inside(chosen: SingleConfig) -> dict[str, Any]:
    """A kubeconfig from within a pod."""
    name = chosen.context_name
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": chosen.namespace}}],
        "clusters": [{"name": name, "cluster": msgspec.to_builtins(chosen.cluster)}],
        "users": [{"name": name, "user": msgspec.to_builtins(chosen.user or User())}],
    }


def _from_files(paths: list[Path], context: str | None) -> SingleConfig:
    """The context in the first file that has it. (kubectl merges files; a context and its user sit in one.)"""
    missing = ""
    for path in paths:
        config = _parsed(path)
        if (context or config.current_context) not in config.contexts:
            missing = f"no context {context}" if context else "names no current context that it holds"
            continue
        try:
            chosen = config.get(context)
        except (ConfigError, KeyError):
            raise InputError(
                f"context {context or config.current_context} names a cluster or user that is not there",
                where=str(path),
            ) from None
        if chosen is not None:
            return chosen
    raise InputError(
        missing, where=os.pathsep.join(map(str, paths)), hint="`kubectl config get-contexts` lists what there is"
    )


def _parsed(path: Path) -> KubeConfig:
    try:
        return KubeConfig.from_file(path)
    except ConfigError:
        raise InputError("no such kubeconfig", where=str(path), hint="give --kubeconfig FILE") from None
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror}", where=str(path)) from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        # What the parser quotes may be a credential.
        raise InputError("not a kubeconfig", where=str(path), hint="`kubectl config view` must show it") from None
