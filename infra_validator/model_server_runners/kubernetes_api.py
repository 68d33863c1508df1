"""The way to an API server: the only file that imports the official client and the libraries it stands on.

The client does what it is best at and what changes between clouds: kubeconfig, service account, exec plugins, token refresh, TLS,
proxies. The calls themselves go over its connection pool as plain JSON, for three reasons: every call has a deadline,
nothing is retried behind our back, and what we send is what arrives (its models differ between versions, and the newest drop fields
that they do not know, which would hide them from the server's strict validation).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import kubernetes.client
import kubernetes.config
import urllib3
import websocket

from infra_validator.deadline import Deadline
from infra_validator.errors import InfrastructureError
from infra_validator.model_server_runners import kubernetes_kubeconfig
from infra_validator.model_server_runners.kubernetes_errors import RETRIED, ApiError, ApiUnreachable, error_of
from infra_validator.model_server_runners.kubernetes_identity import Surroundings
from infra_validator.reason_codes import ReasonCode
from infra_validator.specs import KubernetesConfig
from infra_validator.specs.kubernetes import ApiServer

_CONNECT_SECONDS = 5.0  # TCP and TLS; an API server that needs longer is not there
_UNREACHABLE_TRIES = 3
_LARGEST_ANSWER = 64 * 2**20  # bytes


class KubernetesApi:
    """One API server, spoken to as one user. Thread-safe. Close it.

    Attributes:
      url: the server's address.
      says: one sentence for people: which server, as whom.
      in_cluster: whether it is reached with a pod's service account.
      context_namespace: the namespace of the kubeconfig's context; empty if it names none.
      calls: how many requests have been sent, streams included.
    """

    def __init__(
        self,
        configuration: Any,
        says: str,
        *,
        in_cluster: bool = False,
        context_namespace: str = "",
        call_seconds: float = 15.0,
    ) -> None:
        self._configuration = configuration
        self._client = kubernetes.client.ApiClient(configuration)
        self._pool = self._client.rest_client.pool_manager
        self._call_seconds = call_seconds
        self.url = str(configuration.host).rstrip("/")
        self.says = says
        self.in_cluster = in_cluster
        self.context_namespace = context_namespace
        self.calls = 0

    # ---------------------------------------------------------------- calls

    def call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """One call that answers with a JSON object, made again by the table in kubernetes_errors while the deadline lasts.

        Args:
          method: GET, POST or DELETE.
          path: below the server's address, e.g. ``/api/v1/namespaces/ml/pods``.
          deadline: bounds it all; each call has the spec's call_timeout_seconds besides.
          what: how messages call it, e.g. ``create pods in ml``.
          query: the query's parameters.
          body: what is sent.

        Raises:
          ApiError: the server refused.
          ApiUnreachable: nobody answered, or somebody who is no API server.
        """
        answer = json.loads(self._tried(method, path, deadline, what, query, body, wants_json=True))
        assert isinstance(answer, dict)
        return answer

    def text(self, path: str, deadline: Deadline, what: str, *, query: Mapping[str, str] | None = None) -> str:
        """One GET that answers with text (a log). Raises as ``call`` does."""
        return self._tried("GET", path, deadline, what, query, None, wants_json=False).decode("utf-8", "replace")

    @contextlib.contextmanager
    def stream(self, path: str, query: Mapping[str, str], what: str, silence_seconds: float) -> Iterator[JsonStream]:
        """One GET that answers with a JSON object per line for as long as it lasts (a watch).

        Args:
          path: as in ``call``.
          query: as in ``call``.
          what: as in ``call``.
          silence_seconds: how long the server may say nothing before the stream counts as broken.
        """
        response = self._send("GET", path, query, None, what, _CONNECT_SECONDS, silence_seconds)
        try:
            if response.status != 200:
                raise error_of(response.status, response.read(_LARGEST_ANSWER), response.headers, what)
            yield JsonStream(response, what)
        finally:
            response.close()

    def websocket(self, path: str, query: str, protocols: tuple[str, ...], deadline: Deadline, what: str) -> Any:
        """An open WebSocket (of the websocket-client library) with one of the ``protocols``, in binary frames.

        Raises:
          ApiError: the server refused.
          ApiUnreachable: nobody answered, or somebody who does not speak WebSocket.
        """
        self.calls += 1
        address = urllib.parse.urlsplit(self.url)
        scheme = "wss" if address.scheme == "https" else "ws"
        url = urllib.parse.urlunsplit((scheme, address.netloc, address.path + path, query, ""))
        headers = [f"{name}: {value}" for name, value in self._headers().items() if name != "Content-Type"]
        try:
            return websocket.create_connection(
                url,
                header=headers,
                subprotocols=list(protocols),
                timeout=max(0.001, min(_CONNECT_SECONDS * 2, deadline.remaining())),
                sslopt=self._tls() if scheme == "wss" else {},
                enable_multithread=True,
                skip_utf8_validation=True,
                suppress_origin=True,
                **self._proxy(),
            )
        except websocket.WebSocketBadStatusException as error:
            body = getattr(error, "resp_body", None) or b""
            text = body if isinstance(body, bytes) else str(body).encode()
            raise error_of(error.status_code, text, error.resp_headers or {}, what) from error
        except (websocket.WebSocketException, OSError, ValueError) as error:
            raise ApiUnreachable(what, f"no WebSocket to {self.url}: {_plain(error)}") from error

    def close(self) -> None:
        """Give the connections back. May be called twice."""
        self._pool.clear()

    # ---------------------------------------------------------------- private

    def _tried(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        what: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        *,
        wants_json: bool,
    ) -> bytes:
        unreachable = 0
        pause = 0.1
        while True:
            try:
                return self._once(method, path, deadline, what, query, body, wants_json)
            except ApiError as error:
                wait = max(pause, error.retry_after)
                if error.status not in RETRIED or wait >= deadline.remaining():
                    raise
            except ApiUnreachable:
                unreachable += 1
                wait = pause
                if unreachable >= _UNREACHABLE_TRIES or wait >= deadline.remaining():
                    raise
            time.sleep(wait)
            pause = min(pause * 2, 2.0)

    def _once(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        what: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        wants_json: bool,
    ) -> bytes:
        limit = deadline.capped(self._call_seconds)
        seconds = max(0.001, limit.remaining())
        response = self._send(method, path, query or {}, body, what, min(_CONNECT_SECONDS, seconds), seconds)
        try:
            data = bytes(response.read(_LARGEST_ANSWER))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiUnreachable(what, f"{self.url} broke off its answer: {_plain(error)}") from error
        finally:
            response.release_conn()
        if response.status >= 300:
            raise error_of(response.status, data, response.headers, what)
        if wants_json:
            _check_object(data, response, method, what, self.url)
        return data

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        what: str,
        connect_seconds: float,
        read_seconds: float,
    ) -> Any:
        self.calls += 1
        url = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        try:
            return self._pool.request(
                method,
                url,
                body=json.dumps(body).encode() if body is not None else None,
                headers=self._headers(),
                timeout=urllib3.Timeout(connect=connect_seconds, read=read_seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise ApiUnreachable(what, f"{self.url} does not answer: {_plain(error)}") from error

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "infra-validator"}
        try:
            bearer = self._configuration.auth_settings().get("BearerToken")
        except (OSError, kubernetes.config.ConfigException) as error:
            raise InfrastructureError(
                ReasonCode.KUBERNETES_UNAUTHORIZED, f"The token cannot be refreshed: {error}."
            ) from error
        if bearer and bearer["value"]:
            headers["Authorization"] = str(bearer["value"])
        return headers

    def _tls(self) -> dict[str, Any]:
        """The client's TLS settings for the WebSocket library."""
        given = self._configuration
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

    def _proxy(self) -> dict[str, Any]:
        """The client's proxy settings for the WebSocket library."""
        if not self._configuration.proxy:
            return {}
        proxy = urllib.parse.urlsplit(self._configuration.proxy)
        settings: dict[str, Any] = {
            "http_proxy_host": proxy.hostname,
            "http_proxy_port": proxy.port or 80,
            "proxy_type": "http",
            "http_no_proxy": [name for name in (self._configuration.no_proxy or "").split(",") if name],
        }
        if proxy.username:
            settings["http_proxy_auth"] = (proxy.username, proxy.password or "")
        return settings


class JsonStream:
    """A stream of JSON objects, one per line. Read by one thread; ``break_off`` may be called by another."""

    def __init__(self, response: Any, what: str) -> None:
        self._response = response
        self._what = what
        self._rest = b""
        self.bytes_read = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The objects as they come; ends when the server ends the stream.

        Raises:
          ApiUnreachable: the stream broke, fell silent, or holds something else than JSON.
        """
        try:
            for chunk in self._response.stream(None if self._response.chunked else 1):
                self.bytes_read += len(chunk)
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield self._parsed(line)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # AttributeError: the library's way of telling that the connection was shut under it
            raise ApiUnreachable(self._what, f"the stream broke: {_plain(error)}") from error
        if self._rest.strip():
            raise ApiUnreachable(self._what, "the stream broke in the middle of an object")

    def _parsed(self, line: bytes) -> dict[str, Any]:
        given = json.loads(line)
        if not isinstance(given, dict):
            raise ValueError(f"no object: {line[:80]!r}")
        return given

    def break_off(self) -> None:
        """End a read that is under way in another thread."""
        held = getattr(self._response.connection, "sock", None)
        if held is not None:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)


def _check_object(data: bytes, response: Any, method: str, what: str, url: str) -> None:
    """Refuse an answer with a good status that is none: HTML of a proxy, a Status object that tells of a failure."""
    try:
        given = json.loads(data)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        kind = response.headers.get("Content-Type", "no content type")
        start = " ".join(data[:120].decode("utf-8", "replace").split())
        raise ApiUnreachable(
            what,
            f"{url} answered {response.status} with {kind} and no API object, as a proxy or a login page does: {start}",
        )
    if given.get("kind") != "Status":
        return
    if given.get("status") == "Failure":
        raise error_of(response.status, data, response.headers, what)
    if method != "DELETE":
        raise ApiUnreachable(what, f"{url} answered with a Status object instead of what was asked for")


def _plain(error: BaseException) -> str:
    """The innermost cause, which is the one that says something."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return _plain(inner)
    text = " ".join(str(error).split())
    return text.rpartition(">: ")[2] or type(error).__name__


# -------------------------------------------------------------------- connecting


def connect(config: KubernetesConfig, surroundings: Surroundings, deadline: Deadline) -> KubernetesApi:
    """The API server that the spec names; else the one of the pod's service account; else the kubeconfig's.

    Raises:
      InfrastructureError: there is none, or the way to it is broken (KUBECONFIG_NOT_USABLE).
    """
    if config.api_server is not None:
        return KubernetesApi(
            _explicit(config.api_server),
            f"API server {config.api_server.url}, from the serving spec",
            call_seconds=config.call_timeout_seconds,
        )
    if surroundings.in_pod and not config.kubeconfig and not config.context:
        configuration = _in_cluster(surroundings)
        return KubernetesApi(
            configuration,
            f"API server {configuration.host}, with the pod's service account",
            in_cluster=True,
            call_seconds=config.call_timeout_seconds,
        )
    files = kubernetes_kubeconfig.paths(config.kubeconfig, surroundings.environment)
    context = kubernetes_kubeconfig.check(files, config.context)
    configuration = _from_kubeconfig(files, str(context["name"]), deadline.capped(config.call_timeout_seconds))
    return KubernetesApi(
        configuration,
        f"API server {configuration.host}, context {context['name']} of {os.pathsep.join(files)}",
        context_namespace=str(context.get("namespace") or ""),
        call_seconds=config.call_timeout_seconds,
    )


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
