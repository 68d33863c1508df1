"""Every runner, behind one small factory: what the contract tests need of a platform.

A platform joins with one line in ``RUNNERS``.
"""

from __future__ import annotations

import abc
import os
import pathlib

import pytest

from component_tests.fakes.kubernetes_api import FakeCluster
from component_tests.fakes.kubernetes_pods import MisbehavingImagePlanner, misbehaving_image
from component_tests.fakes.planners import misbehaving, misbehaving_container
from component_tests.fakes.servers.misbehaving_servers import MODES
from component_tests.real_platforms.docker_images import build as docker_images
from infra_validator.core.deadline import Deadline
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner
from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.specs import ServingSpec


class Platform(abc.ABC):
    """Makes runners of one platform whose server misbehaves as told, and sees what they leave behind.

    Attributes:
      seconds: how long a start may take here.
    """

    seconds = 30.0

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.model = directory / "model"
        self.model.mkdir()
        (self.model / "saved_model.pb").touch()  # an empty directory on a node is no model

    @abc.abstractmethod
    def runner(self, mode: str) -> BaseModelServerRunner:
        """A runner whose server is ``misbehaving_servers.py MODE``."""

    @abc.abstractmethod
    def left(self) -> list[str]:
        """What is still there of all that this object's runners have made: processes, containers, directories."""

    @abc.abstractmethod
    def kill(self, runner: BaseModelServerRunner) -> None:
        """End the running server from outside, behind the runner's back, by SIGKILL."""

    def close(self) -> None:
        """Called at the end of the test, after ``left``."""


class LocalProcess(Platform):
    """The server chooses its ports and tells them, as the embedded server does."""

    chooses_its_port = True

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory)
        self._variable = f"CONTRACT_TEST={directory}"

    def runner(self, mode: str) -> LocalProcessRunner:
        name, _, value = self._variable.partition("=")
        spec = ServingSpec.of({"tensorflow_serving": {}, "local_process": {"env": {name: value}}})
        planner = misbehaving(mode, chooses_its_port=self.chooses_its_port)
        return LocalProcessRunner(str(self.model), planner, spec)

    def left(self) -> list[str]:
        from infra_validator.model_server_runners.cleanup.watchdog import marked_processes

        temporary = pathlib.Path(os.environ["TMPDIR"])
        return [f"process {pid}" for pid in marked_processes(self._variable)] + [
            str(path) for path in temporary.iterdir()
        ]

    def kill(self, runner: BaseModelServerRunner) -> None:
        assert isinstance(runner, LocalProcessRunner)
        assert runner.pid
        os.kill(runner.pid, 9)


class LocalProcessWithChosenPorts(LocalProcess):
    """The runner chooses the ports, as for a real tensorflow_model_server."""

    chooses_its_port = False


class Kubernetes(Platform):
    """A pod of the fake cluster, reached from outside by port-forward; the model is on the node."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory)
        images = {f"misbehaving/{mode}": misbehaving_image(mode) for mode in MODES}
        self.cluster = FakeCluster(images=images)
        self.cluster.__enter__()
        self._kubeconfig = self.cluster.kubeconfig(directory)

    def runner(self, mode: str) -> KubernetesRunner:
        where = {"kubeconfig": self._kubeconfig, "model": {"host_path": {"path": str(self.model)}}}
        spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "kubernetes": where})
        return KubernetesRunner(str(self.model), MisbehavingImagePlanner(mode), spec)

    def left(self) -> list[str]:
        deadline = Deadline.after(self.seconds)
        while self.cluster.pods() and not deadline.expired():  # deletion goes on in the background
            self.cluster.store.wait(self.cluster.store.version, 0.05)
        return [f"pod {pod['metadata']['name']}" for pod in self.cluster.pods()]

    def kill(self, runner: BaseModelServerRunner) -> None:
        assert isinstance(runner, KubernetesRunner)
        self.cluster.kill_container(runner.pod_name, "model-server", 9)

    def close(self) -> None:
        self.cluster.__exit__(None, None, None)


class LocalDocker(Platform):
    """A container of the Docker daemon; the model is mounted."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory)
        self._image = docker_images.fake()
        self._names: list[str] = []

    def runner(self, mode: str) -> LocalDockerRunner:
        spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": {}})
        runner = LocalDockerRunner(str(self.model), misbehaving_container(mode, self._image), spec)
        self._names.append(runner.name)
        return runner

    def left(self) -> list[str]:
        containers = docker_images.docker("ps", "-a", "--format", "{{.Names}}").split()
        volumes = docker_images.docker("volume", "ls", "--format", "{{.Name}}").split()
        return [name for name in containers + volumes if any(name.startswith(own) for own in self._names)]

    def kill(self, runner: BaseModelServerRunner) -> None:
        assert isinstance(runner, LocalDockerRunner)
        docker_images.docker("kill", runner.name)


RUNNERS = [
    pytest.param(LocalProcess, id="local_process"),
    pytest.param(LocalProcessWithChosenPorts, id="local_process_with_chosen_ports"),
    pytest.param(Kubernetes, id="kubernetes"),
    pytest.param(LocalDocker, id="local_docker", marks=pytest.mark.docker),
]
