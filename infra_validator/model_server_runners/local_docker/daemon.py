"""A connection to a Docker daemon: the only file that imports the docker library.

Its errors become ours here. Every call has a limit: the smaller of ``client_timeout_seconds`` and what is left of the
deadline. Things that are not there are None or False, not errors.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import datetime
import json
import os
import socket
import stat
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import docker
import docker.auth
import docker.constants
import docker.context
import docker.errors
import docker.transport
import docker.transport.unixconn
import docker.types
import docker.utils
import requests
import requests.utils
import urllib3

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError, SpecError
from infra_validator.core.network.loopback import is_loopback
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.local_docker.errors import no_connection, once_it_is_back, refusal
from infra_validator.model_server_runners.log_lines import READ_TIMES, last_lines
from infra_validator.specs import LocalDockerConfig

_SHORTEST_CALL = 0.05  # seconds; a limit of 0 would mean "none" to some libraries below
_DEFAULT_SOCKET = "unix:///var/run/docker.sock"


class MessageStream:
    """The messages of an answer that goes on for long. Read by one thread; any thread may close it, which ends the reading.

    docker-py's own streams leave their socket open.
    """

    def __init__(self, response: requests.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            for line in self._response.iter_lines():
                if line:
                    yield json.loads(line)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError):
            return  # closed, or the daemon went away
        finally:
            self._response.close()

    def close(self) -> None:
        """Cut the connection; the reading thread gives it back."""
        nothing: Iterator[Any] = iter(())
        with contextlib.suppress(Exception):  # it may have ended at this moment
            docker.types.CancellableStream(nothing, self._response).close()


class DockerDaemon:
    """One connection. Threads may share it; a thread that reads a stream for long has its own.

    Args:
      config: which daemon, which API version, how long a call may take.
      deadline: for the first call, which asks for the API version.

    Attributes:
      url: the daemon's address.

    Raises:
      SpecError: the address makes no sense.
      InfrastructureError: nobody answers there, or not to us.
    """

    def __init__(self, config: LocalDockerConfig, deadline: Deadline) -> None:
        self.url, self._tls = _address(config)
        self._seconds = float(config.client_timeout_seconds)
        self._connect(config.client_api_version, deadline)

    def another(self, deadline: Deadline) -> DockerDaemon:
        """Another connection to the same daemon, which is not asked for its version again."""
        twin = copy.copy(self)
        twin._connect(self._version, deadline)
        return twin

    def close(self) -> None:
        """Give the connections back. May be called twice."""
        self._api.close()

    # ---------------------------------------------------------------- the daemon

    def version(self, deadline: Deadline) -> dict[str, Any]:
        """The daemon's version, API version, operating system and architecture."""
        with self._call("ask for the daemon's version", deadline) as api:
            return dict(api.version())

    def security_options(self, deadline: Deadline) -> list[str]:
        """For example ``name=rootless`` or ``name=userns``."""
        with self._call("ask how the daemon is set up", deadline) as api:
            return [str(option) for option in api.info().get("SecurityOptions") or []]

    def bridge(self, deadline: Deadline) -> tuple[str, str]:
        """The network interface of the daemon's default network, and its own address there; empty what it does not have or tell."""
        with self._call("look at the network bridge", deadline) as api:
            try:
                network = api.inspect_network("bridge")
            except docker.errors.NotFound:
                return "", ""
            addresses = (network.get("IPAM") or {}).get("Config") or [{}]
            name = (network.get("Options") or {}).get("com.docker.network.bridge.name")
            return str(name or ""), str(addresses[0].get("Gateway") or "")

    def events(self, filters: Mapping[str, list[str]], deadline: Deadline) -> MessageStream:
        """The events from now on; ends when it is closed (from any thread) or the daemon goes away."""
        with self._call("watch the daemon's events", deadline) as api:
            response = api.get(
                f"{api.base_url}/v{api.api_version}/events",
                params={"filters": json.dumps(dict(filters))},
                stream=True,
                timeout=(self._limit(deadline), None),
            )
            if response.status_code >= 400:
                raise refusal("watch the daemon's events", response.text)
            return MessageStream(response)

    # ---------------------------------------------------------------- images

    def image(self, reference: str, deadline: Deadline) -> dict[str, Any] | None:
        """What the daemon knows of a local image; None if it has none of that name."""
        with self._call(f"look for the image {reference}", deadline) as api:
            try:
                return dict(api.inspect_image(reference))
            except docker.errors.NotFound:
                return None

    def registry_digest(self, reference: str, deadline: Deadline) -> str:
        """What the registry says is behind ``reference`` now: ``sha256:...``. Nothing is pulled."""
        with self._call(f"ask the registry for {reference}", deadline, ReasonCode.IMAGE_PULL_FAILED) as api:
            return str(api.inspect_distribution(reference)["Descriptor"]["digest"])

    def pull(self, reference: str, deadline: Deadline) -> MessageStream:
        """The daemon's progress messages while it pulls; closing the stream ends the pull.

        docker-py's own ``pull`` has no time limit and cannot be closed, hence the request by hand.
        """
        repository, _, _ = reference.partition("@")
        registry, _ = docker.auth.resolve_repository_name(repository)
        with self._call(f"pull {reference}", deadline, ReasonCode.IMAGE_PULL_FAILED) as api:
            header = docker.auth.get_config_header(api, registry)
            response = api.post(
                f"{api.base_url}/v{api.api_version}/images/create",
                params={"fromImage": reference},
                headers={"X-Registry-Auth": header} if header else {},
                stream=True,
                timeout=(self._limit(deadline), None),
            )
            if response.status_code >= 400:
                raise refusal(f"pull {reference}", response.text, ReasonCode.IMAGE_PULL_FAILED)
            return MessageStream(response)

    # ---------------------------------------------------------------- containers

    def create_container(self, name: str, body: Mapping[str, Any], deadline: Deadline) -> list[str]:
        """Create a container from the body of the API's request; returns the daemon's warnings."""
        with self._call("create the container", deadline) as api:
            return list(api.create_container_from_config(dict(body), name=name).get("Warnings") or [])

    def start_container(self, name: str, deadline: Deadline) -> None:
        with self._call("start the container", deadline) as api:
            api.start(name)

    def container(self, name: str, deadline: Deadline) -> dict[str, Any] | None:
        """What the daemon knows of a container; None if there is none of that name."""
        with self._call(f"look at the container {name}", deadline) as api:
            try:
                return dict(api.inspect_container(name))
            except docker.errors.NotFound:
                return None

    def logs(self, name: str, lines: int, deadline: Deadline) -> str:
        """The container's last lines (log_lines.py), standard output and error together."""
        with self._call(f"read the log of {name}", deadline) as api:
            return last_lines(bytes(api.logs(name, tail=lines * READ_TIMES)).decode(errors="replace"), lines)

    def memory_stats(self, name: str, deadline: Deadline) -> dict[str, Any]:
        """What the daemon tells of a container's memory; empty where the container does not run."""
        with self._call(f"ask how much memory {name} takes", deadline) as api:
            at_once = (
                None if docker.utils.version_lt(self._version, "1.41") else True
            )  # else it waits for a second sample
            return dict(api.stats(name, stream=False, one_shot=at_once).get("memory_stats") or {})

    def signal_container(self, name: str, signal: str, deadline: Deadline) -> bool:
        """Send a signal; False if the container does not run any more. A daemon that is away is waited for."""

        def send() -> bool:
            with self._call(f"send {signal} to {name}", deadline) as api:
                try:
                    api.kill(name, signal)
                except docker.errors.APIError as error:
                    if error.status_code in (404, 409):
                        return False
                    raise
                return True

        return once_it_is_back(send, deadline)

    def remove_container(self, name: str, deadline: Deadline) -> bool:
        """Kill and remove, with its nameless volumes; False if it was gone already. A daemon that is away is waited for."""
        return once_it_is_back(lambda: self._remove("container", name, deadline), deadline)

    def file_in_container(self, name: str, path: str, deadline: Deadline) -> tuple[int, int] | None:
        """Size and modification time (seconds since 1970) of a file as the container sees it, running or not; None if not there."""
        with self._call(f"look at {path} in {name}", deadline) as api:
            response = api.head(
                f"{api.base_url}/v{api.api_version}/containers/{name}/archive",
                params={"path": path},
                timeout=api.timeout,
            )
        header = response.headers.get("X-Docker-Container-Path-Stat")
        if response.status_code != 200 or not header:
            return None
        seen = json.loads(base64.b64decode(header))
        modified = datetime.datetime.fromisoformat(str(seen["mtime"])[:19] + "+00:00")
        return int(seen["size"]), int(modified.timestamp())

    def put_archive(self, name: str, path: str, chunks: Iterable[bytes], deadline: Deadline) -> None:
        """Unpack a tar archive, handed over in pieces, into a directory of a container that need not run."""
        with self._call(f"upload to {name}", deadline, ReasonCode.MODEL_NOT_VISIBLE) as api:
            api.put_archive(name, path, chunks)

    # ---------------------------------------------------------------- volumes, and what is labelled

    def create_volume(self, name: str, labels: Mapping[str, str], deadline: Deadline) -> None:
        with self._call(f"create the volume {name}", deadline) as api:
            api.create_volume(name, labels=dict(labels))

    def remove_volume(self, name: str, deadline: Deadline) -> bool:
        """False if it was gone already. A daemon that is away is waited for."""
        return once_it_is_back(lambda: self._remove("volume", name, deadline), deadline)

    def labelled(self, label: str, deadline: Deadline) -> list[tuple[str, str, dict[str, str]]]:
        """``(kind, name, labels)`` of all containers, running or not, and then all volumes with a label."""
        with self._call("list containers and volumes", deadline) as api:
            containers = api.containers(all=True, filters={"label": label})
            volumes = api.volumes(filters={"label": label})["Volumes"] or []
        found = [("container", str(c["Names"][0]).lstrip("/"), dict(c["Labels"] or {})) for c in containers]
        return found + [("volume", str(v["Name"]), dict(v["Labels"] or {})) for v in volumes]

    # ---------------------------------------------------------------- private

    def _remove(self, kind: str, name: str, deadline: Deadline) -> bool:
        what = f"remove the {kind} {name}"
        with self._call(what, deadline) as api:
            try:
                if kind == "container":
                    api.remove_container(name, v=True, force=True)
                else:
                    api.remove_volume(name, force=True)
                return True
            except docker.errors.APIError as error:
                in_progress = "already in progress" in str(error.explanation)  # by somebody else, and it may fail
                if error.status_code != 404 and not in_progress:
                    raise
        try:
            wait_until(lambda: not in_progress or self.container(name, deadline) is None or None, deadline)
        except DeadlineExceeded as error:
            raise refusal(what, "it goes on being removed by somebody else") from error
        return False

    def _connect(self, version: str, deadline: Deadline) -> None:
        try:
            self._version = version or self._newest_version(deadline)
            self._api = self._client(self._version, deadline)
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            raise self._translated("connect", error, ReasonCode.DOCKER_NOT_RUNNING) from error

    def _client(self, version: str, deadline: Deadline) -> Any:
        client: Any = docker.APIClient  # its type stubs know whole seconds only
        api = client(
            base_url=self.url,
            version=version,
            timeout=self._limit(deadline),
            tls=self._tls or False,
            use_ssh_client=self.url.startswith("ssh://"),
        )
        address = str(docker.utils.parse_host(self.url))
        if address.startswith("http+unix://"):
            adapter: Any = _UnixAdapter(address)
            _check_is_socket(adapter.socket_path)
            api.mount("http+docker://", adapter)
        api.trust_env = False  # requests would let REQUESTS_CA_BUNDLE win over the daemon's own authority
        if not is_loopback(urllib.parse.urlsplit(self.url).hostname or "localhost"):  # a Unix socket has no host
            api.proxies = requests.utils.get_environ_proxies(api.base_url)
        return api

    def _newest_version(self, deadline: Deadline) -> str:
        """The newest API version of the daemon. docker-py would ask as well, but leave its connection open when that fails."""
        with contextlib.closing(self._client(docker.constants.MINIMUM_DOCKER_API_VERSION, deadline)) as api:
            told = api.version(api_version=False).get("ApiVersion")
        if not told:
            raise docker.errors.DockerException("what answers there is no Docker daemon")
        return str(told)

    def _limit(self, deadline: Deadline) -> float:
        return max(_SHORTEST_CALL, min(self._seconds, deadline.remaining()))

    @contextlib.contextmanager
    def _call(
        self, what: str, deadline: Deadline, otherwise: ReasonCode = ReasonCode.SERVER_NOT_STARTED
    ) -> Iterator[Any]:
        self._api.timeout = self._limit(deadline)
        try:
            yield self._api
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            raise self._translated(what, error, otherwise) from error

    def _translated(
        self, what: str, error: Exception, otherwise: ReasonCode = ReasonCode.SERVER_NOT_STARTED
    ) -> InfrastructureError:
        if isinstance(error, docker.errors.APIError) and error.response is not None:
            return refusal(what, _message(error), otherwise)
        if isinstance(error, docker.errors.InvalidVersion):
            return InfrastructureError(ReasonCode.DOCKER_API_VERSION, str(error))
        inner = error.__context__
        if isinstance(inner, docker.errors.APIError):
            return refusal(what, _message(inner), otherwise)
        return no_connection(self.url, error)


def _address(config: LocalDockerConfig) -> tuple[str, docker.tls.TLSConfig | None]:
    """The daemon's address and TLS settings: the spec's, else the environment's, else the Docker context's, else the default."""
    try:
        environment = docker.utils.kwargs_from_env()
    except docker.errors.TLSParameterError as error:
        raise InfrastructureError(ReasonCode.DOCKER_TLS_FAILED, " ".join(str(error).split())) from error
    tls = environment.get("tls") or None
    url = config.client_base_url or environment.get("base_url") or ""
    if not url and not os.path.exists(_DEFAULT_SOCKET.removeprefix("unix://")):
        with contextlib.suppress(Exception):  # a context is a convenience; a broken one must not hide the plain message
            current = docker.context.ContextAPI.get_current_context()
            url = (current.Host or "") if current is not None else ""
    url = url or _DEFAULT_SOCKET
    return url, None if url.startswith(("unix://", "npipe://", "ssh://", "http://")) else tls


def _check_is_socket(path: str) -> None:
    """Nothing there is no mistake: the daemon may be away.

    Raises:
      SpecError: something else than a socket is there.
    """
    with contextlib.suppress(OSError):
        mode = os.stat(path).st_mode
        if not stat.S_ISSOCK(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "no socket"
            field = "serving_spec.local_docker.client_base_url"
            raise SpecError(field, f"{path} is {kind}", next_step="Name the daemon's socket.")


class _UnixConnection(docker.transport.unixconn.UnixHTTPConnection):
    """docker-py's own leaves its socket open where nobody answers. This one is closed with the connection."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.unix_socket)


class _UnixPool(docker.transport.unixconn.UnixHTTPConnectionPool):
    def _new_conn(self) -> _UnixConnection:
        return _UnixConnection(self.base_url, self.socket_path, self.timeout)


class _UnixAdapter(docker.transport.UnixHTTPAdapter):
    pools: Any

    def get_connection(self, url: str | bytes, proxies: object = None) -> Any:
        with self.pools.lock:
            if url not in self.pools:
                self.pools[url] = _UnixPool(str(url), self.socket_path, self.timeout, self.max_pool_size)
            return self.pools[url]


def _message(error: docker.errors.APIError) -> str:
    """The daemon's own words, or what else came as an answer."""
    words = str(error.explanation or "").strip()
    return words or f"HTTP {error.status_code} {getattr(error.response, 'reason', '')}"
