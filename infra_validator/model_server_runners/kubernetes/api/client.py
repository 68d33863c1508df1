"""Calls, streams and WebSockets to an API server, over the official client's connection pool and with its credentials.

Plain JSON goes over it, for three reasons: every call has a deadline, nothing is retried behind our back, and what we send is what
arrives (the client's models differ between versions, and the newest drop fields that they do not know, which would hide them from the
server's strict validation).
"""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import urllib3
import websocket

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError
from infra_validator.core.signals.interruption import Interruption
from infra_validator.model_server_runners.kubernetes.api.access import Access, find_access
from infra_validator.model_server_runners.kubernetes.api.bounded_call import bounded
from infra_validator.model_server_runners.kubernetes.api.errors import (
    RETRIED,
    ApiError,
    ApiUnreachable,
    error_of,
    innermost,
    with_reason,
)
from infra_validator.model_server_runners.kubernetes.api.stream import JsonStream, WebSocket
from infra_validator.model_server_runners.kubernetes.identity import Surroundings
from infra_validator.specs import KubernetesConfig

_CONNECT_SECONDS = 5.0  # TCP and TLS; an API server that needs longer is not there
_UNREACHABLE_TRIES = 3
_LARGEST_ANSWER = 64 * 2**20  # bytes
_NOT_OF_STREAMS = ("Accept", "Content-Type")
_MERGE_PATCH = "application/merge-patch+json"
_RENEWAL_SECONDS = 15.0  # an exec plugin may ask a cloud

T = TypeVar("T")


class KubernetesApi:
    """One API server, spoken to as one user. Thread-safe. Close it.

    Attributes:
      access: the address and the credentials.
      url: the server's address.
      says: one sentence for people: which server, as whom.
      in_cluster: whether it is reached with a pod's service account.
      context_namespace: the namespace of the kubeconfig's context; empty if it names none.
      calls: how many requests have been sent, streams included.
      interruption: ends the pauses between two tries of a call.

    Args:
      access: the address and the credentials.
      call_seconds: the limit of one call.
      renew: reads the credentials anew: after a 401 once, and the call is made again with them. Tokens of service accounts rotate,
        those of exec plugins expire.
    """

    def __init__(
        self, access: Access, call_seconds: float = 15.0, renew: Callable[[Deadline], Access] | None = None
    ) -> None:
        self.access = access
        self._renew = renew
        self._renewing = threading.Lock()
        self._call_seconds = call_seconds
        self.url = access.url
        self.says = access.says
        self.in_cluster = access.in_cluster
        self.context_namespace = access.context_namespace
        self.calls = 0
        self.interruption = Interruption()

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
        persistent: bool = False,
    ) -> dict[str, Any]:
        """One call that answers with a JSON object, made again by the table in errors.py while the deadline lasts.

        Args:
          method: GET, POST, PATCH (a merge patch) or DELETE.
          path: below the server's address, e.g. ``/api/v1/namespaces/ml/pods``.
          deadline: bounds it all; each call has the spec's call_timeout_seconds besides.
          what: how messages call it, e.g. ``create pods in ml``.
          query: the query's parameters.
          body: what is sent.
          persistent: whether a server that is away is tried until the deadline and interruptions are not heeded: for cleaning up.

        Raises:
          ApiError: the server refused.
          ApiUnreachable: nobody answered, or somebody who is no API server.
          InfrastructureError: INTERRUPTED, between two tries.
        """
        answer = json.loads(
            self._tried(method, path, deadline, what, query, body, wants_json=True, persistent=persistent)
        )
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

        def opened() -> Any:
            response = self._send("GET", path, query, None, what, _CONNECT_SECONDS, silence_seconds)
            if response.status == 200:
                return response
            try:
                raise error_of(response.status, response.read(_LARGEST_ANSWER), response.headers, what)
            finally:
                response.close()

        response = self._with_fresh_credentials(opened, Deadline.after(_RENEWAL_SECONDS))
        try:
            yield JsonStream(response, what)
        finally:
            response.close()

    def websocket(self, path: str, query: str, protocols: tuple[str, ...], deadline: Deadline, what: str) -> WebSocket:
        """An open WebSocket (of the websocket-client library) with one of the ``protocols``, in binary frames.

        Raises:
          ApiError: the server refused.
          ApiUnreachable: nobody answered, or somebody who does not speak WebSocket.
        """
        limit = deadline.capped(_CONNECT_SECONDS * 2)

        def opened() -> WebSocket:
            return bounded(
                lambda: self._websocket(path, query, protocols, limit, what), limit, lambda one: one.shutdown()
            )

        try:
            return self._with_fresh_credentials(opened, deadline)
        except DeadlineExceeded as error:
            raise ApiUnreachable(what, f"no WebSocket to {self.url}: it did not open in time") from error

    def close(self) -> None:
        """Give the connections back. May be called twice."""
        self.access.pool.clear()

    # ---------------------------------------------------------------- private

    def _with_fresh_credentials(self, send: Callable[[], T], deadline: Deadline) -> T:
        """What ``send`` returns; sent again with the credentials read anew if they are refused."""
        refused = self.access
        try:
            return send()
        except ApiError as error:
            if error.status != 401 or self._renew is None:
                raise
            first = error
        with self._renewing:
            if self.access is refused:  # else another call has been here
                try:
                    self.access = self._renew(deadline)
                except InfrastructureError as error:
                    words = f"{first.message}; and the credentials cannot be read anew: {error.detail}"
                    raise ApiError(401, first.reason, words, first.call) from error
                refused.pool.clear()
        try:
            return send()
        except ApiError as error:
            if error.status != 401:
                raise
            words = f"{error.message}, also with the credentials read anew"
            raise ApiError(401, error.reason, words, error.call) from error

    def _websocket(self, path: str, query: str, protocols: tuple[str, ...], limit: Deadline, what: str) -> WebSocket:
        self.calls += 1
        address = urllib.parse.urlsplit(self.url)
        scheme = "wss" if address.scheme == "https" else "ws"
        url = urllib.parse.urlunsplit((scheme, address.netloc, address.path + path, query, ""))
        # The node's streaming routes declare no media type: with any Accept but */* they answer 406.
        headers = [f"{name}: {value}" for name, value in self._headers().items() if name not in _NOT_OF_STREAMS]
        try:
            opened: WebSocket = websocket.create_connection(
                url,
                header=headers,
                subprotocols=list(protocols),
                timeout=max(0.001, limit.remaining()),
                sslopt=self.access.tls() if scheme == "wss" else {},
                enable_multithread=True,
                skip_utf8_validation=True,
                suppress_origin=True,
                **self.access.proxy(),
            )
            return opened
        except websocket.WebSocketBadStatusException as error:
            body = getattr(error, "resp_body", None) or b""
            text = body if isinstance(body, bytes) else str(body).encode()
            raise with_reason(error_of(error.status_code, text, error.resp_headers or {}, what), path) from error
        except (websocket.WebSocketException, OSError, ValueError) as error:
            raise ApiUnreachable(what, f"no WebSocket to {self.url}: {innermost(error)}") from error

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
        persistent: bool = False,
    ) -> bytes:
        unreachable = 0
        pause = 0.1
        interruption = Interruption() if persistent else self.interruption
        while True:
            try:
                return self._with_fresh_credentials(
                    lambda: self._once(method, path, deadline, what, query, body, wants_json), deadline
                )
            except ApiError as error:
                wait = max(pause, error.retry_after)
                if error.status not in RETRIED or wait >= deadline.remaining():
                    raise
            except ApiUnreachable:
                unreachable += 1
                wait = pause
                if (unreachable >= _UNREACHABLE_TRIES and not persistent) or wait >= deadline.remaining():
                    raise
            interruption.rest(wait)
            interruption.check()
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
        held: list[Any] = []
        over = threading.Event()

        def answered() -> tuple[Any, bytes]:
            response = self._send(method, path, query or {}, body, what, min(_CONNECT_SECONDS, seconds), seconds)
            held.append(response)
            if over.is_set():
                JsonStream(response, what).break_off()
            try:
                return response, bytes(response.read(_LARGEST_ANSWER))
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise ApiUnreachable(what, f"{self.url} broke off its answer: {innermost(error)}") from error
            finally:
                response.release_conn()

        try:
            response, data = bounded(answered, limit)
        except DeadlineExceeded as error:
            over.set()
            for response in held:
                JsonStream(response, what).break_off()
            raise ApiUnreachable(what, f"{self.url} did not end its answer within {seconds:.1f} s") from error
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
            return self.access.pool.request(
                method,
                url,
                body=json.dumps(body).encode() if body is not None else None,
                headers=self._headers(_MERGE_PATCH if method == "PATCH" else "application/json"),
                timeout=urllib3.Timeout(connect=connect_seconds, read=read_seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise ApiUnreachable(what, f"{self.url} does not answer: {innermost(error)}") from error

    def _headers(self, content_type: str = "application/json") -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": "infra-validator"}
        authorization = self.access.authorization()
        if authorization:
            headers["Authorization"] = authorization
        return headers


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


def connect(config: KubernetesConfig, surroundings: Surroundings, deadline: Deadline) -> KubernetesApi:
    """The API server that the spec and our surroundings lead to; see :func:`find_access`.

    Raises:
      InfrastructureError: there is none, or the way to it is broken (KUBECONFIG_NOT_USABLE).
    """
    access = find_access(config, surroundings, deadline)
    return KubernetesApi(access, config.call_timeout_seconds, lambda limit: find_access(config, surroundings, limit))
