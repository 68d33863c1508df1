"""Models and servers of strangers in pods of the fake cluster: verdict, reason, nothing left, and what their pod asks of its node.

The fake's pods are processes of this machine: what the kernel of a real node does with these restrictions is not tried here.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.fakes.hostile_model import Asking, Listener, few_descriptors
from component_tests.fakes.kubernetes_api import FakeCluster, node_limits
from component_tests.fakes.kubernetes_pods import TAG, embedded_image, misbehaving_image
from component_tests.fakes.saved_models import SavedModels
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import ValidationReport, Verdict

Json = dict[str, Any]
R = ReasonCode
BLESSED, NOT_BLESSED = Verdict.BLESSED, Verdict.NOT_BLESSED

LIMITS = {"cpu": "1", "memory": "1500Mi", "ephemeral-storage": "100Mi"}
PROCESSES = {"serving_pod_overrides": {"resources": {"limits": LIMITS}}}


class Watched:
    """A cluster that enforces the "restricted" standard, and the pods that were made in it.

    Attributes:
      made: each pod as it was created.
    """

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.made: list[Json] = []
        cluster.pod_security["default"] = "restricted"
        cluster.webhooks.append(self.made.append)

    def nothing_is_left(self) -> bool:
        """No pod, and no process of one; what was killed may take its time to end."""
        uids = [pod["metadata"]["uid"] for pod in self.made]

        def ended() -> bool:
            return not self.cluster.pods() and not any(pid for uid in uids for pid in node_limits.processes_of(uid))

        return bool(self.cluster.wait_for(ended))


@pytest.fixture
def watched() -> Iterator[Watched]:
    with FakeCluster(images={TAG: embedded_image()}) as cluster:
        watched = Watched(cluster)
        yield watched
        assert watched.made
        assert watched.nothing_is_left()


def spec(watched: Watched, directory: pathlib.Path, **config: Any) -> Json:
    where = {"kubeconfig": watched.cluster.kubeconfig(directory), "hardening": "strict", **PROCESSES, **config}
    return {"tensorflow_serving": {"tags": ["2.19.0"]}, "kubernetes": where}


@pytest.fixture
def ask(tmp_path: pathlib.Path, saved_models: SavedModels, watched: Watched) -> Asking:
    return Asking(tmp_path, saved_models.copy("hostile", tmp_path / "model"), spec(watched, tmp_path))


def outcome(report: ValidationReport) -> tuple[Verdict, ReasonCode]:
    return report.verdict, report.finding.reason


# -------------------------------------------------------------------- models


def test_a_model_finds_no_token_of_the_cluster(ask: Asking) -> None:
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert outcome(ask("read", path=token)) == (NOT_BLESSED, R.REQUEST_FAILED)


def test_what_a_model_writes_is_gone_with_its_pod(ask: Asking) -> None:
    """It got a copy of its own files; the validator's are as they were."""
    before = sorted(str(path) for path in ask.model.rglob("*"))
    mine = "models/infra-validation-model/1"  # below the container's root, where the server was started
    for path in ("written", f"{mine}/assets.extra"):
        assert outcome(ask("write", path=path, content="x")) == (BLESSED, R.BLESSED)
    report = ask("merge", source=f"{mine}/variables/variables", target="its/variables")
    assert "over gRPC it was answered" in report.finding.detail  # and over REST there was nothing left to move
    assert sorted(str(path) for path in ask.model.rglob("*")) == before


def test_a_model_that_changes_itself_on_the_nodes_disk_is_not_blessed(ask: Asking, watched: Watched) -> None:
    """Where a node did not keep to the mount's being read-only, in a namespace that allows its disk's directories."""
    watched.cluster.pod_security.clear()
    ask.serving_spec["kubernetes"]["model"] = {"host_path": {"path": str(ask.model)}}
    report = ask("write", path=str(ask.model / "more"), content="x")
    assert outcome(report) == (Verdict.INCONCLUSIVE, R.MODEL_CHANGED)


def test_a_model_that_takes_all_memory_is_ended(ask: Asking) -> None:
    assert outcome(ask("hungry", mebibytes=4000)) == (NOT_BLESSED, R.SERVER_OUT_OF_MEMORY)


def test_a_model_that_fills_the_disk_is_evicted(ask: Asking) -> None:
    report = ask("fill", path="filled", mebibytes=200)
    assert outcome(report) == (NOT_BLESSED, R.JOB_ABORTED)
    assert "ephemeral local storage usage exceeds" in report.finding.detail


@pytest.mark.parametrize("signature", ["spin", "burn"])
def test_a_model_that_takes_processors_is_ended(ask: Asking, signature: str) -> None:
    report = ask(signature, {"max_query_time_seconds": 3}, start=1.0)
    assert outcome(report) == (NOT_BLESSED, R.QUERY_TIMEOUT)


def test_a_model_that_takes_all_descriptors_takes_its_own(ask: Asking) -> None:
    with few_descriptors() as most:
        report = ask("descriptors", path="/etc/passwd", files=4 * most)
    assert outcome(report) == (NOT_BLESSED, R.REQUEST_FAILED)
    assert "Too many open files" in report.finding.detail


def test_a_model_reaches_whatever_the_pods_network_does(ask: Asking) -> None:
    """Not contained: that is a network policy's to say."""
    with Listener() as listener:
        report = ask("dial", address=f"127.0.0.1:{listener.port}")
        assert any("DispatcherService" in method for method in listener.called)
    assert outcome(report) == (NOT_BLESSED, R.REQUEST_FAILED)


# -------------------------------------------------------------------- servers


@pytest.mark.parametrize(
    ("mode", "expected", "reason"),
    [
        ("forks", BLESSED, R.BLESSED),
        ("leaves_children", NOT_BLESSED, R.SERVER_EXITED),
        ("eats_memory", NOT_BLESSED, R.SERVER_OUT_OF_MEMORY),
    ],
)
def test_a_server_that_forks_or_takes_memory(
    watched: Watched,
    tmp_path: pathlib.Path,
    saved_models: SavedModels,
    mode: str,
    expected: Verdict,
    reason: ReasonCode,
) -> None:
    watched.cluster.images[TAG] = misbehaving_image(mode)
    limits = {**LIMITS, "memory": "200Mi"}
    small = spec(watched, tmp_path, serving_pod_overrides={"resources": {"limits": limits}}, endpoint="port_forward")
    report = run_validation(saved_models.path("half_plus_two"), small, {"num_tries": 1, "stop_grace_seconds": 0.3})
    assert outcome(report) == (expected, reason)
    assert all(attempt.left_behind == () for attempt in report.serving_binaries[0].attempts)


# -------------------------------------------------------------------- what the pod asks of its node


def test_the_pod_has_the_restrictions_that_are_promised(ask: Asking, watched: Watched) -> None:
    assert outcome(ask("serving_default", x=[1.0])) == (BLESSED, R.BLESSED)
    (pod,) = watched.made
    asked = pod["spec"]
    assert asked["automountServiceAccountToken"] is False
    assert asked["enableServiceLinks"] is False
    assert not [one for one in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace") if asked.get(one)]
    assert asked["securityContext"]["runAsNonRoot"] is True
    assert asked["securityContext"]["runAsUser"] > 0
    assert asked["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert asked["restartPolicy"] == "Never"
    assert asked["activeDeadlineSeconds"] > 0
    for container in (*asked["initContainers"], *asked["containers"]):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"] == LIMITS
        assert not container.get("envFrom")
    (server,) = asked["containers"]
    (model,) = [one for one in server["volumeMounts"] if one["mountPath"].startswith("/models/")]
    assert model["readOnly"] is True
    assert all("hostPath" not in volume for volume in asked["volumes"])


def test_the_pods_root_is_read_only_and_it_has_a_token_only_where_the_spec_says_so(
    ask: Asking, watched: Watched
) -> None:
    more = {"read_only_root_filesystem": True, "service_account_name": "reader"}
    watched.cluster.service_accounts.add(("default", "reader"))
    ask.serving_spec["kubernetes"].update(more)
    assert outcome(ask("serving_default", x=[1.0])) == (BLESSED, R.BLESSED)
    (pod,) = watched.made
    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["spec"]["automountServiceAccountToken"] is True
    assert pod["spec"]["serviceAccountName"] == "reader"
