"""The HTTP side of the fake API server: who calls, what is asked, answers and streams."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import re
import socket
import socketserver
import ssl
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from component_tests.fakes.kubernetes_api import administration, authorization, discovery, pod_creation, spdy, streams
from component_tests.fakes.kubernetes_api.cluster import Account, Fault, Refused
from component_tests.fakes.kubernetes_api.kubelet import timestamp
from component_tests.fakes.kubernetes_api.selectors import Selector
from component_tests.fakes.kubernetes_api.websocket_frames import Frames

if TYPE_CHECKING:
    from component_tests.fakes.kubernetes_api.cluster import FakeCluster

Json = dict[str, Any]

_TLS = pathlib.Path(__file__).parent / "tls"
_NAMESPACED = re.compile(r"^/api/v1/namespaces/([^/]+)/([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?$")
_REVIEWS = "/apis/authorization.k8s.io/v1/"
_VERBS = {"GET": "get", "POST": "create", "DELETE": "delete", "PATCH": "patch"}
_ANSWERED = {"application/json", "application/*", "*/*"}
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
KINDS = {"pods": "Pod", "events": "Event", "persistentvolumeclaims": "PersistentVolumeClaim"}


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    tls: ssl.SSLContext | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.tls is not None:
            try:
                connection.getpeername()  # wrap_socket() never closes the connection of somebody who has left before it
                connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            except OSError:
                connection.close()
                raise
        self._open.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        super().close_request(request)

    def cut(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that break off, or do not trust the certificate, are none of our business."""


class ApiServer:
    """Listens on a free port of 127.0.0.1."""

    def __init__(self, cluster: FakeCluster, *, tls: bool) -> None:
        handler = type("Handler", (Handler,), {"cluster": cluster})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.ca_file = str(_TLS / "certificate.pem") if tls else ""
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(_TLS / "certificate.pem", _TLS / "key.pem")
            self._server.tls = context
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cut(self) -> None:
        """Cut every connection that there is now: calls, watches, port-forwards."""
        self._server.cut()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    cluster: FakeCluster
    protocol_version = "HTTP/1.1"
    timeout = 120
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    # ---------------------------------------------------------------- one request

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.cluster.requests.append((self.command, self.path))
        time.sleep(self.cluster.api_latency)
        fault = next((one for one in self.cluster.faults if one.takes(self.command, self.path)), None)
        try:
            if fault is not None and not fault.after:
                self._go_wrong(fault)
                return
            self._serve(body, fault)
        except Refused as refusal:
            self._send_status(refusal)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _go_wrong(self, fault: Fault) -> None:
        deadline = time.monotonic() + fault.hang
        while time.monotonic() < deadline and not self.cluster.closing.wait(0.02):
            pass
        if fault.status == 0:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault.body:
            self.send_answer(fault.status, fault.body, dict(fault.headers))
            return
        self._send_status(Refused(fault.status, fault.reason, fault.message), dict(fault.headers))

    def _serve(self, body: bytes, fault: Fault | None) -> None:
        address = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(address.query, keep_blank_values=True)
        account = self._who()
        self._check_media_types(address.path)
        if address.path == "/version" and self.command == "GET":
            version = {"major": "1", "minor": str(self.cluster.minor), "gitVersion": f"v1.{self.cluster.minor}.0"}
            self._send_object(200, version)
            return
        if address.path.startswith(_REVIEWS):
            self._send_object(
                201, authorization.review(self.cluster, account, address.path[len(_REVIEWS) :], json.loads(body))
            )
            return
        administered = administration.handle(
            self.cluster, account, self.command, address.path, json.loads(body or b"{}")
        )
        if administered is not None:
            self._send_object(201 if self.command == "POST" else 200, administered)
            return
        if address.path == "/api/v1/pods":
            self._list(account, "pods", "", query)
            return
        told = discovery.discovered(address.path) if self.command == "GET" else None
        if told is not None:
            self._send_object(200, told)
            return
        if address.path == f"/api/v1/nodes/{self.cluster.node}" and self.command == "GET":
            authorization.check(account, "get", "nodes", "", self.cluster.node)
            self._send_object(200, self.cluster.node_object())
            return
        match = _NAMESPACED.match(address.path)
        if match is None or match[2] not in KINDS:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        namespace, resource, name, subresource = match[1], match[2], match[3] or "", match[4] or ""
        if self.command == "GET" and not name:
            self._list(account, resource, namespace, query)
            return
        self._one(account, namespace, resource, name, subresource, query, body, fault)

    def _check_media_types(self, path: str) -> None:
        """As the API server's content negotiation: what it cannot answer with is 406, what it cannot read is 415."""
        accepted = _media_types(self.headers.get("Accept") or "*/*")
        if not accepted & _ANSWERED and not path.endswith(("/exec", "/portforward", "/attach")):
            words = f"only the following media types are accepted: {', '.join(sorted(_ANSWERED - {'*/*', 'application/*'}))}"
            raise Refused(406, "NotAcceptable", words)
        sent = (self.headers.get("Content-Type") or "").partition(";")[0].strip()
        known = _PATCHES if self.command == "PATCH" else ("", "application/json")
        if self.command in ("POST", "PUT", "PATCH") and not self.headers.get("Upgrade") and sent not in known:
            words = (
                f"the body of the request was in an unknown format - accepted media types include: {', '.join(known)}"
            )
            raise Refused(415, "UnsupportedMediaType", words)

    def _one(
        self,
        account: Account,
        namespace: str,
        resource: str,
        name: str,
        subresource: str,
        query: dict[str, list[str]],
        body: bytes,
        fault: Fault | None,
    ) -> None:
        if subresource in ("exec", "portforward"):
            self._stream(account, namespace, name, subresource, query)
            return
        if (
            self.command not in _VERBS
            or (subresource and self.command != "GET")
            or bool(name) is (self.command == "POST")
        ):
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        verb = _VERBS[self.command]
        whole = f"{resource}/{subresource}" if subresource else resource
        authorization.check(account, verb, whole, namespace, name)
        if self.command == "POST":
            created, warnings = pod_creation.create(self.cluster, account, namespace, json.loads(body), query)
            if fault is not None:
                self._go_wrong(fault)
                return
            self._send_object(201, created, {"Warning": f'299 - "{"; ".join(warnings)}"'} if warnings else {})
        elif self.command == "PATCH":
            self._found(resource, namespace, name)
            self._send_object(200, self.cluster.annotate(namespace, name, json.loads(body)))
        elif self.command == "DELETE":
            options = json.loads(body or b"{}")
            uid = str((options.get("preconditions") or {}).get("uid") or "")
            grace = options.get("gracePeriodSeconds")
            if "gracePeriodSeconds" in query:
                grace = int(query["gracePeriodSeconds"][0])
            deleted = self.cluster.delete(namespace, name, uid=uid, grace=grace)
            self._send_object(200, deleted)
        elif subresource == "log":
            self._send_log(namespace, name, query)
        else:
            self._send_object(200, self._found(resource, namespace, name))

    def _found(self, resource: str, namespace: str, name: str) -> Json:
        if resource == "persistentvolumeclaims":
            claim = self.cluster.claims.get((namespace, name))
            if claim is not None:
                return {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": name, "namespace": namespace},
                    "spec": {"accessModes": list(claim.access_modes)},
                    "status": {"phase": "Bound", "accessModes": list(claim.access_modes)},
                }
        thing = self.cluster.store.get(resource, namespace, name)
        if thing is None:
            raise Refused(404, "NotFound", f'{resource} "{name}" not found', {"name": name, "kind": resource})
        return thing

    def _who(self) -> Account:
        kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
        account = self.cluster.accounts.get(token.strip()) if kind.lower() == "bearer" else None
        if account is None or account.expired:
            raise Refused(401, "Unauthorized", "Unauthorized")
        return account

    # ---------------------------------------------------------------- answers

    def send_answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_object(self, status: int, thing: Json, headers: dict[str, str] | None = None) -> None:
        self.send_answer(status, json.dumps(thing).encode(), headers or {})

    def _send_status(self, refusal: Refused, headers: dict[str, str] | None = None) -> None:
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": refusal.message,
            "reason": refusal.reason,
            "details": refusal.details,
            "code": refusal.code,
        }
        self._send_object(refusal.code, status, headers)

    def _send_log(self, namespace: str, name: str, query: dict[str, list[str]]) -> None:
        pod = self._found("pods", namespace, name)
        known = [one["name"] for part in ("initContainers", "containers") for one in pod["spec"].get(part) or ()]
        container = query.get("container", [known[-1]])[0]
        if container not in known:
            raise Refused(400, "BadRequest", f"container {container} is not valid for pod {name}")
        statuses = [
            *(pod["status"].get("initContainerStatuses") or ()),
            *(pod["status"].get("containerStatuses") or ()),
        ]
        state = next((one["state"] for one in statuses if one["name"] == container), {"waiting": {"reason": "Pending"}})
        if "waiting" in state:
            words = f'container "{container}" in pod "{name}" is waiting to start: {state["waiting"]["reason"]}'
            raise Refused(400, "BadRequest", words)
        if query.get("follow", ["false"])[0] == "true":
            self._follow_log(name, container, query)
            return
        try:
            text = self.cluster.process_of(name).containers[container].log.read_bytes()
        except (StopIteration, KeyError, OSError):
            text = b""
        if "tailLines" in query:
            count = int(query["tailLines"][0])
            text = b"".join(text.splitlines(keepends=True)[-count:]) if count else b""
        if "limitBytes" in query:
            text = text[: int(query["limitBytes"][0])]
        self.send_answer(200, text, {"Content-Type": "text/plain"})

    def _follow_log(self, name: str, container: str, query: dict[str, list[str]]) -> None:
        """The log as it grows, to the container's end. As a kubelet's, the answer begins with the log's first byte."""
        path = self.cluster.process_of(name).containers[container].log
        tail = int(query.get("tailLines", ["1000000"])[0])
        at = 0
        chunks: _Chunks | None = None
        while not self.cluster.closing.is_set():
            over = not self._runs(name, container)
            text = path.read_bytes()[at:] if path.exists() else b""
            at += len(text)
            if chunks is None:
                text = b"".join(text.splitlines(keepends=True)[-tail:])
            if text:
                chunks = chunks or _Chunks(self, "text/plain")
                chunks.write(text)
            if over:
                break
            time.sleep(0.02)
        (chunks or _Chunks(self, "text/plain")).end()

    def _runs(self, name: str, container: str) -> bool:
        pod = next((one for one in self.cluster.pods() if one["metadata"]["name"] == name), None)
        statuses = (pod or {"status": {}})["status"]
        listed = [*(statuses.get("initContainerStatuses") or ()), *(statuses.get("containerStatuses") or ())]
        return any(one["name"] == container and "running" in one["state"] for one in listed)

    # ---------------------------------------------------------------- lists and watches

    def _list(self, account: Account, resource: str, namespace: str, query: dict[str, list[str]]) -> None:
        selector = Selector(resource, query.get("fieldSelector", [""])[0], query.get("labelSelector", [""])[0])
        if query.get("watch", ["false"])[0] in ("true", "1", "True"):
            authorization.check(account, "watch", resource, namespace, "")
            self._watch(resource, namespace, selector, query)
            return
        authorization.check(account, "list", resource, namespace, "")
        with self.cluster.store.changed:
            version = self.cluster.store.version
            items = [thing for thing in self.cluster.store.all(resource, namespace) if selector.matches(thing)]
        kind = KINDS[resource]
        self._send_object(
            200,
            {"apiVersion": "v1", "kind": f"{kind}List", "metadata": {"resourceVersion": str(version)}, "items": items},
        )

    def _watch(self, resource: str, namespace: str, selector: Selector, query: dict[str, list[str]]) -> None:
        store = self.cluster.store
        given = query.get("resourceVersion", [""])[0]
        breaks_after = self.cluster.break_watch_after.pop(0) if self.cluster.break_watch_after else None
        chunks = _Chunks(self)
        if given not in ("", "0"):
            version = int(given)
            if version < store.oldest:
                gone = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"}
                gone["message"] = f"too old resource version: {given} ({store.version})"
                chunks.send({"type": "ERROR", "object": gone})
                chunks.end()
                return
        else:
            with store.changed:
                version = store.version
                present = [thing for thing in store.all(resource, namespace) if selector.matches(thing)]
            for thing in present:  # "get state and start at any": the present state as synthetic events
                chunks.send({"type": "ADDED", "object": thing})
        self._follow(resource, namespace, selector, query, chunks, version, breaks_after)

    def _follow(
        self,
        resource: str,
        namespace: str,
        selector: Selector,
        query: dict[str, list[str]],
        chunks: _Chunks,
        version: int,
        breaks_after: int | None,
    ) -> None:
        store = self.cluster.store
        bookmarks = query.get("allowWatchBookmarks", ["false"])[0] == "true"
        end = time.monotonic() + float(query.get("timeoutSeconds", ["1800"])[0])
        next_bookmark = time.monotonic() + self.cluster.bookmark_seconds
        sent = 0
        while time.monotonic() < end and not self.cluster.closing.is_set():
            changes, version = store.since(resource, version)
            for change in changes:
                if namespace not in ("", change.object["metadata"].get("namespace")) or not selector.matches(
                    change.object
                ):
                    continue
                if breaks_after is not None and sent >= breaks_after:
                    chunks.break_off()
                    return
                chunks.send({"type": change.type, "object": change.object})
                sent += 1
            if bookmarks and time.monotonic() >= next_bookmark:
                next_bookmark = time.monotonic() + self.cluster.bookmark_seconds
                mark = {
                    "kind": KINDS[resource],
                    "apiVersion": "v1",
                    "metadata": {"resourceVersion": str(store.version)},
                }
                chunks.send({"type": "BOOKMARK", "object": mark})
            store.wait(version, 0.05)
        chunks.end()

    # ---------------------------------------------------------------- exec and port-forward

    def _stream(self, account: Account, namespace: str, name: str, kind: str, query: dict[str, list[str]]) -> None:
        # A WebSocket is asked for with GET. Since 1.35 the right to create is asked for besides, in words that give no reason.
        authorization.check(account, "get" if self.command == "GET" else "create", f"pods/{kind}", namespace, name)
        compound = self.command == "GET" and self.cluster.minor >= 35
        if compound and not authorization.allowed(account, "create", f"pods/{kind}", name):
            raise Refused(403, "Forbidden", f'pods "{name}" is forbidden: ', {"name": name, "kind": "pods"})
        pod = self._found("pods", namespace, name)
        upgrade = (self.headers.get("Upgrade") or "").lower()
        if upgrade == spdy.UPGRADE.lower():
            switched = streams.spdy_headers(self.headers, kind)
        else:
            switched = streams.websocket_headers(self.headers, streams.protocols(self.cluster, kind))
        protocol = switched.get("Sec-WebSocket-Protocol", "")
        over_spdy = protocol in ("", spdy.TUNNEL)
        streams.check(self.cluster, pod, kind, query, spdy=over_spdy)
        if "*/*" not in _media_types(self.headers.get("Accept") or "*/*"):
            # The node's streaming routes declare no media type: only "anything" is acceptable.
            self.send_answer(406, b"406: Not Acceptable\n\nAvailable representations: ", {"Content-Type": "text/plain"})
            return
        self.send_response(101, "Switching Protocols")
        for header, value in {"Connection": "Upgrade", **switched}.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        process = self.cluster.process_of(name)
        frames = Frames(self.rfile, self.wfile)  # type: ignore[arg-type]
        if not protocol and kind == "exec":
            streams.SpdyExec(process, query, self.rfile.read, self.wfile.write).run()
        elif not protocol:
            streams.SpdyForward(process, self.rfile.read, self.wfile.write).run()
        elif over_spdy:
            tunneled = spdy.TunneledBytes(frames)
            streams.SpdyForward(process, tunneled.read, tunneled.write).run()
        elif kind == "exec":
            streams.run_exec(process, query, frames, protocol)
        else:
            streams.run_forward(process, int(query["ports"][0]), frames, self.connection)


def _media_types(header: str) -> set[str]:
    return {part.partition(";")[0].strip().lower() for part in header.split(",")}


class _Chunks:
    """A chunked answer of JSON lines, or of text. The header goes out at once, as a real server's does."""

    def __init__(self, handler: Handler, kind: str = "application/json") -> None:
        self._handler = handler
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Date", timestamp())
        handler.end_headers()
        handler.wfile.flush()

    def send(self, thing: Json) -> None:
        line = json.dumps(thing).encode() + b"\n"
        self._handler.cluster.watched_bytes += len(line)
        self.write(line)

    def write(self, line: bytes) -> None:
        self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self._handler.wfile.flush()

    def end(self) -> None:
        self._handler.wfile.write(b"0\r\n\r\n")
        self._handler.wfile.flush()

    def break_off(self) -> None:
        """In the middle of an object, as a connection that is lost."""
        self._handler.wfile.write(b"40\r\n" + b'{"type": "MODIFIED", "obj')
        self._handler.wfile.flush()
        self._handler.close_connection = True
        with contextlib.suppress(OSError):
            self._handler.connection.shutdown(socket.SHUT_RDWR)
