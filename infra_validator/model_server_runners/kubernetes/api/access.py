"""With which address and credentials to speak to a cluster: the only file that imports the official client.

The client does what it is best at and what changes between clouds: kubeconfig, service account, exec plugins, token refresh, TLS,
proxies. The calls themselves (client.py) go over its connection pool.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import ssl
import threading
import urllib.parse
from typing import Any

import kubernetes.client
import kubernetes.config

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.network.loopback import is_loopback
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.kubernetes.api import kubeconfig as kubernetes_kubeconfig
from infra_validator.model_server_runners.kubernetes.identity import Surroundings
from infra_validator.specs import KubernetesConfig
from infra_validator.specs.kubernetes.config import ApiServer


@dataclasses.dataclass(frozen=True)
class Access:
    """A cluster, and ourselves in it.

    Attributes:
      configuration: the client's.
      pool: the client's connection pool (urllib3), with its TLS and proxy settings.
      says: one sentence for people: which server, as whom.
      in_cluster: whether it is reached with a pod's service account.
      context_namespace: the namespace of the kubeconfig's context; empty if it names none.
    """

    configuration: Any
    pool: Any
    says: str
    in_cluster: bool = False
    context_namespace: str = ""

    @property
    def url(self) -> str:
        return str(self.configuration.host).rstrip("/")

    def authorization(self) -> str:
        """The Authorization header, refreshed where it has to be; empty if there is none.

        Raises:
          InfrastructureError: the token cannot be refreshed (KUBERNETES_UNAUTHORIZED).
        """
        try:
            bearer = self.configuration.auth_settings().get("BearerToken")
        except (OSError, kubernetes.config.ConfigException) as error:
            raise InfrastructureError(
                ReasonCode.KUBERNETES_UNAUTHORIZED, f"The token cannot be refreshed: {error}."
            ) from error
        return str(bearer["value"]) if bearer and bearer["value"] else ""

    def tls(self) -> dict[str, Any]:
        """The client's TLS settings for the WebSocket library."""
        given = self.configuration
        context = ssl.create_default_context(
            cafile=given.ssl_ca_cert or None, cadata=getattr(given, "ca_cert_data", None) or None
        )
        if not given.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if given.cert_file:
            context.load_cert_chain(given.cert_file, given.key_file)
        name = getattr(given, "tls_server_name", None)
        return {"context": context, **({"server_hostname": name} if name else {})}

    def plainly(self) -> dict[str, Any] | None:
        """What is needed to speak to the server without the client, as removal.py takes it; None: it takes the client.

        Raises:
          InfrastructureError: as for ``authorization``.
        """
        given = self.configuration
        if given.proxy or getattr(given, "tls_server_name", None) or given.assert_hostname is not None:
            return None
        ca = getattr(given, "ca_cert_data", None) or ""
        try:
            if given.ssl_ca_cert:
                ca = _read(given.ssl_ca_cert)
            certificate = (
                f"{_read(given.cert_file)}\n{_read(given.key_file or given.cert_file)}" if given.cert_file else ""
            )
        except (OSError, UnicodeDecodeError):
            return None
        usual = "" if ca else self.pool.connection_pool_kw.get("ca_certs") or ""
        tls = {"verify": bool(given.verify_ssl), "ca": ca, "ca_file": usual, "certificate": certificate}
        return {"authorization": self.authorization(), "tls": tls}

    def proxy(self) -> dict[str, Any]:
        """The client's proxy settings for the WebSocket library."""
        if not self.configuration.proxy:
            return {
                "http_no_proxy": ["*"]
            }  # else the library would take one from the environment, which the client has not
        proxy = urllib.parse.urlsplit(self.configuration.proxy)
        settings: dict[str, Any] = {
            "http_proxy_host": proxy.hostname,
            "http_proxy_port": proxy.port or 80,
            "proxy_type": "http",
            "http_no_proxy": [name for name in (self.configuration.no_proxy or "").split(",") if name],
        }
        if proxy.username:
            settings["http_proxy_auth"] = (proxy.username, proxy.password or "")
        return settings


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def find_access(config: KubernetesConfig, surroundings: Surroundings, deadline: Deadline) -> Access:
    """The API server that the spec names; else the one of the pod's service account; else the kubeconfig's.

    Raises:
      InfrastructureError: there is none, or the way to it is broken (KUBECONFIG_NOT_USABLE).
    """
    if config.api_server is not None:
        return _access(_explicit(config.api_server), f"API server {config.api_server.url}, from the serving spec")
    if surroundings.in_pod and not config.kubeconfig and not config.context:
        configuration = _in_cluster(surroundings)
        says = f"API server {configuration.host}, with the pod's service account"
        return _access(configuration, says, in_cluster=True)
    files = kubernetes_kubeconfig.paths(config.kubeconfig, surroundings.environment)
    context = kubernetes_kubeconfig.check(files, config.context)
    configuration = _from_kubeconfig(files, str(context["name"]), deadline.capped(config.call_timeout_seconds))
    says = f"API server {configuration.host}, context {context['name']} of {os.pathsep.join(files)}"
    return _access(configuration, says, context_namespace=str(context.get("namespace") or ""))


def _access(configuration: Any, says: str, **more: Any) -> Access:
    if is_loopback(urllib.parse.urlsplit(str(configuration.host)).hostname or ""):
        configuration.proxy = None  # newer clients take it from the environment
    pool = kubernetes.client.ApiClient(configuration).rest_client.pool_manager
    return Access(configuration, pool, says, **more)


def _explicit(server: ApiServer) -> Any:
    configuration = kubernetes.client.Configuration()
    configuration.host = server.url.rstrip("/")
    configuration.verify_ssl = not server.insecure_skip_tls_verify
    configuration.ssl_ca_cert = server.ca_file or None

    def read_token(configuration: Any) -> None:
        with open(server.token_file, encoding="utf-8") as file:
            configuration.api_key["authorization"] = f"Bearer {file.read().strip()}"

    if server.token_file:
        try:
            read_token(configuration)
        except (OSError, UnicodeDecodeError) as error:
            raise InfrastructureError(
                ReasonCode.KUBECONFIG_NOT_USABLE,
                f"The token file {server.token_file} cannot be read: {error}.",
            ) from error
        configuration.refresh_api_key_hook = read_token
    return configuration


def _in_cluster(surroundings: Surroundings) -> Any:
    from kubernetes.config.incluster_config import InClusterConfigLoader

    configuration = kubernetes.client.Configuration()
    directory = surroundings.service_account_directory
    try:
        InClusterConfigLoader(
            token_filename=os.path.join(directory, "token"),
            cert_filename=os.path.join(directory, "ca.crt"),
            environ=surroundings.environment,
        ).load_and_set(configuration)
    except (kubernetes.config.ConfigException, OSError) as error:
        raise InfrastructureError(
            ReasonCode.KUBECONFIG_NOT_USABLE, f"The pod's service account in {directory} is not usable: {error}"
        ) from error
    return configuration


def _from_kubeconfig(files: list[str], context: str, deadline: Deadline) -> Any:
    """Loaded in a thread of its own: an exec plugin may hang, and the client would wait for it for good."""
    configuration = kubernetes.client.Configuration()
    problems: list[BaseException] = []
    complaints = _Complaints()

    def load() -> None:
        try:
            kubernetes.config.load_kube_config(os.pathsep.join(files), context, configuration)
        except BaseException as error:
            problems.append(error)

    logging.getLogger().addHandler(complaints)
    try:
        thread = threading.Thread(target=load, name="kubeconfig", daemon=True)
        thread.start()
        thread.join(deadline.remaining())
        if thread.is_alive():
            _end_children_of(thread)
            raise InfrastructureError(
                ReasonCode.KUBECONFIG_NOT_USABLE,
                f"The credentials of context {context} did not come in time: its exec plugin hangs or waits for a person.",
                next_step="Run `kubectl get pods` with the same kubeconfig once, and log in if it asks.",
            )
    finally:
        logging.getLogger().removeHandler(complaints)
    said = complaints.text.rstrip(".")
    if problems:
        raise InfrastructureError(
            ReasonCode.KUBECONFIG_NOT_USABLE,
            f"{os.pathsep.join(files)}, context {context}: {problems[0]}. {said}".strip(),
        ) from problems[0]
    if said and not configuration.api_key and not configuration.cert_file:
        raise InfrastructureError(
            ReasonCode.KUBECONFIG_NOT_USABLE,
            f"The credentials of context {context} cannot be had: {said}.",
            next_step="Run the exec plugin that the kubeconfig names by hand, and log in if it asks.",
        )
    return configuration


class _Complaints(logging.Handler):
    """Collects what the client only logs: that an exec plugin failed, and how."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += f"{record.getMessage().strip()} "


def _end_children_of(thread: threading.Thread) -> None:
    """Kill the processes that a thread has started, where the system tells which they are."""
    try:
        with open(f"/proc/self/task/{thread.native_id}/children", encoding="ascii") as file:
            children = [int(pid) for pid in file.read().split()]
    except OSError:
        return
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
