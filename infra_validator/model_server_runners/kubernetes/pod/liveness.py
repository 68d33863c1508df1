"""What ends a server whose validator has fallen silent: a liveness probe that looks at the age of the validator's last heartbeat. Pure.

A pod of a validator that was killed stays as an object, so nothing that it owns is deleted, and ``activeDeadlineSeconds`` can only be
lowered, not renewed. So the validator changes an annotation now and then (heartbeat.py); the node writes it into a file by the downward
API, with the node's own clock, so clocks that disagree do no harm; and a probe in the server's container fails when the file is old. The
node then ends the container, and with ``restartPolicy: Never`` the pod. An image without a shell or ``find`` is left alone: a node throws
away probes that it cannot run, and the test says "old" only of what it has found.
"""

from __future__ import annotations

from typing import Any

from infra_validator.model_server_runners.kubernetes.pod.model_source import escape

#: The annotation that is renewed; its value only has to change.
ANNOTATION = "infra-validator.heartbeat"

#: Minutes without a heartbeat after which the server is ended.
SILENT_MINUTES = 3

_VOLUME = "heartbeat"
_DIRECTORY = "/var/run/infra-validator-heartbeat"
_TEST = f'test -z "$(find -L {_DIRECTORY}/beat -mmin +{SILENT_MINUTES} 2>/dev/null)"'


def add_liveness(pod: dict[str, Any], server_container: str) -> None:
    """Give the server's container the probe. One of the pod template's own stays, and there is none of ours then.

    Args:
      pod: the whole pod; changed.
      server_container: the name of the server's container.
    """
    spec = pod["spec"]
    (server,) = [one for one in spec["containers"] if one["name"] == server_container]
    if server.get("livenessProbe"):
        return
    pod["metadata"]["annotations"][ANNOTATION] = "0"
    beat = {"path": "beat", "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION}']"}}
    spec["volumes"].append({"name": _VOLUME, "downwardAPI": {"items": [beat]}})
    server["volumeMounts"].append({"name": _VOLUME, "mountPath": _DIRECTORY, "readOnly": True})
    # A busy server may take its time to start the probe's process: only three failures in a row, a minute, count.
    server["livenessProbe"] = {
        "exec": {"command": ["sh", "-c", escape(_TEST)]},
        "periodSeconds": 20,
        "timeoutSeconds": 60,
        "failureThreshold": 3,
    }
