"""What a pod leaves to read before it is deleted: the tails of its containers' logs, and its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from infra_validator.core.deadline import Deadline
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError, ApiUnreachable
from infra_validator.model_server_runners.kubernetes.causes import SERVER_CONTAINER, container_status, process_ran
from infra_validator.model_server_runners.log_lines import READ_TIMES, last_lines

LINES = 100
BYTES = 256 * 1024
_EVENTS = 10


class ReadingApi(Protocol):
    """What is needed of api.client.KubernetesApi."""

    def text(self, path: str, deadline: Deadline, what: str, *, query: Mapping[str, str] | None = None) -> str: ...


def read_logs(api: ReadingApi, pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]], deadline: Deadline) -> str:
    """The tail of the server's log; where the server did not run, those of the init containers that failed, and the events."""
    server = container_status(pod, SERVER_CONTAINER)
    if process_ran(server):
        return _tail(api, pod, SERVER_CONTAINER, deadline)
    parts = []
    for status in (pod.get("status") or {}).get("initContainerStatuses") or ():
        end = (status.get("state") or {}).get("terminated") or {}
        if process_ran(status) and end.get("exitCode") != 0:
            parts.append(f"--- init container {status['name']}\n{_tail(api, pod, status['name'], deadline)}")
    if events:
        lines = [f"{event.get('type')} {event.get('reason')}: {event.get('message')}" for event in events[-_EVENTS:]]
        parts.append("--- events\n" + "\n".join(lines))
    return "\n".join(parts)


def _tail(api: ReadingApi, pod: Mapping[str, Any], container: str, deadline: Deadline) -> str:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    query = {"container": container, "tailLines": str(LINES * READ_TIMES), "limitBytes": str(BYTES * READ_TIMES)}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
    try:
        return last_lines(api.text(path, deadline, f"get the log of pod {namespace}/{name}", query=query), LINES)
    except (ApiError, ApiUnreachable) as error:
        return f"(the log of {container} cannot be read: {error})"
