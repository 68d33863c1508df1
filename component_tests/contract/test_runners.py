"""The runners' contract over every runner of the package, with real servers that misbehave."""

from __future__ import annotations

import os

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
from infra_validator.testing.contracts import KilledValidatorContract, ModelServerRunnerContract
from infra_validator.testing.contracts.runners import MisbehavingServer


class TestLocalProcess(ModelServerRunnerContract, KilledValidatorContract):
    """The server chooses its ports and tells them, as the embedded server does."""

    sandbox = "off"

    def make_runner(self, server: MisbehavingServer, model: str) -> LocalProcessRunner:
        config = {"env": dict(server.env), "sandbox": self.sandbox}
        spec = ServingSpec.of({"tensorflow_serving": {}, "local_process": config})
        planner = misbehaving(server.mode, chooses_its_port=self.chooses_its_port)
        return LocalProcessRunner(model, planner, spec)

    def kill(self, runner: BaseModelServerRunner) -> None:
        assert isinstance(runner, LocalProcessRunner)
        assert runner.pid
        os.kill(runner.pid, 9)


class TestLocalProcessWithChosenPorts(TestLocalProcess):
    """The runner chooses the ports, as for a real tensorflow_model_server."""

    chooses_its_port = False


@pytest.mark.bubblewrap
class TestLocalProcessInASandbox(TestLocalProcess):
    """Likewise where only what the sandbox shows can be read."""

    sandbox = "required"


class TestLocalProcessWithTheContractsOwnServers(ModelServerRunnerContract):
    """As another package runs the contract."""

    def make_runner(self, server: MisbehavingServer, model: str) -> LocalProcessRunner:
        return LocalProcessRunner(model, server, ServingSpec.of({"tensorflow_serving": {}, "local_process": {}}))


class TestKubernetes(ModelServerRunnerContract):
    """A pod of the fake cluster, reached from outside by port-forward; the model is on the node."""

    def open(self) -> None:
        images = {f"misbehaving/{mode}": misbehaving_image(mode) for mode in MODES}
        self.cluster = FakeCluster(images=images)
        self.cluster.__enter__()
        self._kubeconfig = self.cluster.kubeconfig(self.directory)

    def make_runner(self, server: MisbehavingServer, model: str) -> KubernetesRunner:
        where = {"kubeconfig": self._kubeconfig, "model": {"host_path": {"path": model}}}
        spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "kubernetes": where})
        return KubernetesRunner(model, MisbehavingImagePlanner(server.mode), spec)

    def left_behind(self) -> list[str]:
        deadline = Deadline.after(self.seconds)
        while self.cluster.pods() and not deadline.expired():  # deletion goes on in the background
            self.cluster.store.wait(self.cluster.store.version, 0.05)
        return [f"pod {pod['metadata']['name']}" for pod in self.cluster.pods()]

    def left(self) -> list[str]:
        return self.left_behind()  # the temporary files of this machine are the fake nodes' own

    def kill(self, runner: BaseModelServerRunner) -> None:
        assert isinstance(runner, KubernetesRunner)
        self.cluster.kill_container(runner.pod_name, "model-server", 9)

    def close(self) -> None:
        self.cluster.__exit__(None, None, None)


@pytest.mark.docker
class TestLocalDocker(ModelServerRunnerContract):
    """A container of the Docker daemon; the model is mounted."""

    def open(self) -> None:
        self._image = docker_images.fake()
        self._names: list[str] = []

    def make_runner(self, server: MisbehavingServer, model: str) -> LocalDockerRunner:
        spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "local_docker": {}})
        runner = LocalDockerRunner(model, misbehaving_container(server.mode, self._image), spec)
        self._names.append(runner.name)
        return runner

    def left_behind(self) -> list[str]:
        containers = docker_images.docker("ps", "-a", "--format", "{{.Names}}").split()
        volumes = docker_images.docker("volume", "ls", "--format", "{{.Name}}").split()
        return [name for name in containers + volumes if any(name.startswith(own) for own in self._names)]

    def left(self) -> list[str]:
        return self.left_behind()  # the images' builder keeps its locks among the temporary files

    def kill(self, runner: BaseModelServerRunner) -> None:
        assert isinstance(runner, LocalDockerRunner)
        docker_images.docker("kill", runner.name)
