"""Pods that nobody deleted: found by our labels and deleted once their time is over; and the pod of a validator that was killed.

A watchdog runs ``removal.py`` when the maker dies, or could not delete the pod itself, and that runs this file's ``main`` where it needs
the official client; both go on while the API server is away.
In a cluster the owner reference deletes the pod when its maker's pod is deleted, and the heartbeat ends the server before that, since a
watchdog dies with its container. ``infra-validator gc --kubernetes`` looks for what is left even so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline, wait_until
from infra_validator.core.errors import InfrastructureError
from infra_validator.model_server_runners.cleanup.labels import lives
from infra_validator.model_server_runners.cleanup.watchdog import Watchdog
from infra_validator.model_server_runners.kubernetes import removal
from infra_validator.model_server_runners.kubernetes.api.errors import ApiError, ApiUnreachable, meaning_of
from infra_validator.model_server_runners.kubernetes.identity import (
    Surroundings,
    choose_namespace,
    service_account_namespace,
)
from infra_validator.model_server_runners.kubernetes.pod.manifest import (
    LABEL_DEADLINE,
    LABEL_NAME,
    LABEL_OWNER,
    NAME,
    PROCESS,
)
from infra_validator.specs import KubernetesConfig

if TYPE_CHECKING:
    from infra_validator.model_server_runners.kubernetes.api.access import Access

_CONNECTION_FIELDS = ("kubeconfig", "context", "api_server", "call_timeout_seconds")
GOES_ON_SECONDS = (
    900.0  # how long the pod of a validator that is gone is tried to be deleted while the API server is away
)
_LONGEST_PAUSE = 10.0


class CallingApi(Protocol):
    """What is needed of api.client.KubernetesApi."""

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
    ) -> dict[str, Any]: ...


@dataclasses.dataclass(frozen=True)
class LeftoverPod:
    """A pod that was left behind.

    Attributes:
      namespace, name: the pod.
      owner: who started it.
      why: why nobody can want it any more.
      problem: why it could not be deleted; empty if it was, or was only looked for.
    """

    namespace: str
    name: str
    owner: str
    why: str
    problem: str = ""

    @property
    def path(self) -> str:
        """How messages call it."""
        return f"pod {self.namespace}/{self.name} of {self.owner}"


def pod_path(namespace: str, name: str) -> str:
    """Where a pod is below the API server's address."""
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def delete_pod(api: CallingApi, namespace: str, name: str, uid: str, grace_seconds: int, deadline: Deadline) -> None:
    """Delete a pod and let the cluster do the rest in the background. That it is gone, or is another one by now, is fine.

    Args:
      api: the API server.
      namespace, name: the pod.
      uid: the only pod of that name that is meant; empty if its UID never became known.
      grace_seconds: how long its processes may take to end.
      deadline: until then it is tried, also while the API server is away.

    Raises:
      ApiError, ApiUnreachable: it could not be deleted.
    """
    options: dict[str, Any] = {**removal.DELETE_NOW, "gracePeriodSeconds": grace_seconds}
    if uid:
        options["preconditions"] = {"uid": uid}
    try:
        api.call(
            "DELETE",
            pod_path(namespace, name),
            deadline,
            f"delete pod {namespace}/{name}",
            body=options,
            persistent=True,
        )
    except ApiError as error:
        if error.status not in (404, 409):
            raise


def collect_garbage(
    config: KubernetesConfig | None = None,
    *,
    all_namespaces: bool = False,
    remove: bool = True,
    clock: Clock = SYSTEM_CLOCK,
) -> list[LeftoverPod]:
    """Find, and unless told otherwise delete, pods of ours whose time is over.

    Args:
      config: which cluster and namespace; None: those of the pod's service account, else of KUBECONFIG.
      all_namespaces: whether to look in every namespace (needs a ClusterRole).
      remove: False only looks.
      clock: where time is read; the labels hold times of the machines that made the pods, with ten minutes to spare.

    Raises:
      InfrastructureError: the cluster cannot be asked.
    """
    from infra_validator.model_server_runners.kubernetes.api.client import connect

    config = config or KubernetesConfig()
    surroundings = Surroundings.here()
    deadline = Deadline.after(60.0, clock)
    api = connect(config, surroundings, deadline)
    try:
        namespace = choose_namespace(
            config.namespace,
            api.context_namespace,
            service_account_namespace(surroundings.service_account_directory) if api.in_cluster else "",
        ).value
        path = "/api/v1/pods" if all_namespaces else f"/api/v1/namespaces/{namespace}/pods"
        query = {"labelSelector": f"{LABEL_NAME}={NAME},{LABEL_DEADLINE}"}
        listed = api.call(
            "GET", path, deadline, f"list pods {'everywhere' if all_namespaces else 'in ' + namespace}", query=query
        )
        found = [left for pod in listed.get("items") or () if (left := _expired(pod, clock.utc())) is not None]
        return [_delete(api, left, pod_uid, deadline) if remove else left for left, pod_uid in found]
    except (ApiError, ApiUnreachable) as error:
        raise meaning_of(error) from error
    finally:
        api.close()


def _expired(pod: Mapping[str, Any], now: float) -> tuple[LeftoverPod, str] | None:
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    try:
        over = float(labels[LABEL_DEADLINE])
    except (KeyError, ValueError):
        return None
    process = str((metadata.get("annotations") or {}).get(PROCESS, ""))
    if metadata.get("deletionTimestamp") or not (now >= over or lives(process) is False):
        return None
    why = (
        f"its time was over {now - over:.0f} s ago" if now >= over else "the process that made it does not run any more"
    )
    return LeftoverPod(metadata["namespace"], metadata["name"], labels.get(LABEL_OWNER, "?"), why), metadata["uid"]


def _delete(api: CallingApi, left: LeftoverPod, uid: str, deadline: Deadline) -> LeftoverPod:
    try:
        delete_pod(api, left.namespace, left.name, uid, 0, deadline)
    except (ApiError, ApiUnreachable) as error:
        return dataclasses.replace(left, problem=str(error))
    return left


# -------------------------------------------------------------------- for the watchdog


def undo_command(
    access: Access,
    config: KubernetesConfig,
    namespace: str,
    name: str,
    surroundings: Surroundings,
) -> tuple[list[str], str]:
    """The command that deletes a pod after its maker's death, and its input; told to the watchdog before the pod is created.

    It finds this package where this process has it, since the watchdog works in another directory.

    Args:
      access: the cluster, and ourselves in it.
      config: says which cluster, to who has to read its credentials anew.
      namespace, name: the pod.
      surroundings: say where a pod's service account is mounted.
    """
    root = str(pathlib.Path(__file__).resolve().parents[3])
    code = f"import sys; sys.path.insert(0, {root!r}); from {__name__} import main; main()"
    anew = {"config": config_to_dict(config), "namespace": namespace, "name": name}
    anew["service_account_directory"] = surroundings.service_account_directory
    plainly = access.plainly()
    told = {
        "pod": f"{access.url}{pod_path(namespace, name)}" if plainly else "",
        "seconds": GOES_ON_SECONDS,
        "otherwise": [sys.executable, "-c", code, json.dumps(anew)],
        **(plainly or {}),
    }
    return [sys.executable, "-I", "-S", removal.__file__, name], json.dumps(told)


def close_watchdog(watchdog: Watchdog, deadline: Deadline) -> None:
    """End the watchdog; one that still has something to undo is not waited for here beyond the deadline."""
    try:
        watchdog.close(deadline.remaining())
    except subprocess.TimeoutExpired:
        threading.Thread(target=_reap, args=(watchdog,), name="reap the watchdog", daemon=True).start()


def _reap(watchdog: Watchdog) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        watchdog.close(60.0)


def config_to_dict(config: KubernetesConfig) -> dict[str, Any]:
    """The part of the spec that says which cluster."""
    from infra_validator.specs.reader import to_dict

    return {field: value for field, value in to_dict(config).items() if field in _CONNECTION_FIELDS}


def main() -> None:
    """Delete the pod that the command line names; tried for as long as GOES_ON_SECONDS."""
    from infra_validator.model_server_runners.kubernetes.api.client import connect
    from infra_validator.specs.reader import read

    told = json.loads(sys.argv[1])
    config = read(KubernetesConfig, told["config"], "kubernetes")
    here = dataclasses.replace(Surroundings.here(), service_account_directory=told["service_account_directory"])
    deadline = Deadline.after(GOES_ON_SECONDS)

    def deleted() -> bool | None:
        try:  # connecting may fail as well: an exec plugin that asks a cloud
            delete_pod(connect(config, here, deadline), told["namespace"], told["name"], "", 0, deadline)
        except (ApiUnreachable, InfrastructureError):
            return None
        return True

    wait_until(deleted, deadline, first_pause=1.0, longest_pause=_LONGEST_PAUSE)
