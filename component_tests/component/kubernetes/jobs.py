"""What the component tests of the Kubernetes runner have in common: a cluster, and jobs in it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from component_tests.fakes.kubernetes_api import FakeCluster
from component_tests.fakes.kubernetes_pods import MisbehavingImagePlanner, misbehaving_image
from component_tests.fakes.servers.misbehaving_servers import MODES
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.launch_plan import LaunchPlanner
from infra_validator.core.states import Life, Observation
from infra_validator.model_server_runners.base_runner import failure_of
from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner
from infra_validator.specs import ServingSpec

SECONDS = 30.0  # how long anything may take on a busy machine


class Jobs:
    """Makes runners of one cluster and stops them all at the end.

    Attributes:
      cluster: the fake cluster.
      model: a directory that stands for a model.
    """

    def __init__(self, cluster: FakeCluster, directory: pathlib.Path) -> None:
        self.cluster = cluster
        self.directory = directory
        self.model = directory / "model"
        self.model.mkdir()
        (self.model / "saved_model.pb").write_bytes(b"graph" * 1000)
        (self.model / "variables").mkdir()
        (self.model / "variables" / "variables.index").write_bytes(b"index")
        self.kubeconfig = cluster.kubeconfig(directory)
        self.progress: list[str] = []
        self._runners: list[KubernetesRunner] = []

    def runner(
        self, mode: str = "good", *, planner: LaunchPlanner | None = None, model_path: str = "", **config: Any
    ) -> KubernetesRunner:
        """A runner whose server is ``misbehaving_servers.py MODE``; ``config`` is the spec's Kubernetes part."""
        if mode in MODES and f"misbehaving/{mode}" not in self.cluster.images:
            self.cluster.images[f"misbehaving/{mode}"] = misbehaving_image(mode)
        where = {"kubeconfig": self.kubeconfig, "model": {"host_path": {"path": str(self.model)}}, **config}
        where = {key: value for key, value in where.items() if value is not None}
        spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "kubernetes": where})
        runner = KubernetesRunner(model_path or str(self.model), planner or MisbehavingImagePlanner(mode), spec)
        runner.stop_grace_seconds = 0.3
        runner.on_progress = self.progress.append
        self._runners.append(runner)
        return runner

    def stop(self) -> None:
        for runner in self._runners:
            runner.Stop()
            assert runner.stop_problems == []

    def prepared(self, mode: str = "good", **more: Any) -> KubernetesRunner:
        runner = self.runner(mode, **more)
        runner.Prepare(Deadline.after(SECONDS))
        return runner

    def started(self, mode: str = "good", **more: Any) -> KubernetesRunner:
        runner = self.runner(mode, **more)
        runner.Start()
        return runner

    def running(self, mode: str = "good", **more: Any) -> KubernetesRunner:
        runner = self.prepared(mode, **more)
        runner.Start()
        runner.WaitUntilRunning(Deadline.after(SECONDS))
        return runner

    def refusal(self, mode: str = "good", **more: Any) -> InfrastructureError:
        """The error of a Prepare that fails."""
        with pytest.raises(InfrastructureError) as caught:
            self.prepared(mode, **more)
        return caught.value

    def end(self, runner: KubernetesRunner) -> Observation:
        """Wait until the job is gone."""
        return wait_until(
            lambda: seen if (seen := runner.Observe()).life is Life.GONE else None, Deadline.after(SECONDS)
        )

    def failure(self, runner: KubernetesRunner) -> AttemptFailed | InfrastructureError:
        return failure_of(self.end(runner))


def jobs_in(directory: pathlib.Path, **cluster: Any) -> Iterator[Jobs]:
    """A cluster with its jobs; at the end nothing is left of them."""
    with FakeCluster(**cluster) as fake:
        jobs = Jobs(fake, directory)
        try:
            yield jobs
        finally:
            jobs.stop()
        ours: Callable[[], bool] = lambda: not [pod for pod in fake.pods() if "infra-validator.run" in _labels(pod)]  # noqa: E731
        fake.wait_for(ours)


def _labels(pod: Any) -> dict[str, str]:
    return pod["metadata"].get("labels") or {}
