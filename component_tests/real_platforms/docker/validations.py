"""One validation of one container, as the package carries it out, for tests that only care about its outcome."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from component_tests.fakes.planners import ContainerPlanner
from component_tests.real_platforms.docker_images.build import docker
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner
from infra_validator.protos import tensorflow_serving_pb2
from infra_validator.report.verdict import AttemptReport, ValidationReport, Verdict
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import ServingSpec, ValidationSpec
from infra_validator.validation.attempt import Candidate
from infra_validator.validation.validation import Validation

PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclasses.dataclass(frozen=True)
class Binary(BaseServingBinary):
    """A serving binary that plans what it is told."""

    planner: ContainerPlanner

    name = "tensorflow_serving"
    client = "tensorflow_serving"

    @property
    def label(self) -> str:
        return self.planner.image

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        return self.planner.MakeLaunchPlan(model_path, platform)


@dataclasses.dataclass
class Outcome:
    """What came of it.

    Attributes:
      report: the report.
      progress: the lines for people.
      runners: the runners of all attempts.
      left: containers and volumes of those runners that are still there.
    """

    report: ValidationReport
    progress: list[str]
    runners: list[LocalDockerRunner]
    left: list[str]

    @property
    def verdict(self) -> Verdict:
        return self.report.verdict

    @property
    def attempt(self) -> AttemptReport:
        return self.report.serving_binaries[0].attempts[-1]


def validate(
    planner: ContainerPlanner,
    model: pathlib.Path,
    config: Mapping[str, Any] | None = None,
    *,
    limits: Mapping[str, Any] | None = None,
    query: bool = False,
    meanwhile: Callable[[LocalDockerRunner], None] | None = None,
) -> Outcome:
    """Validate ``model`` with one container.

    Args:
      planner: plans the container.
      config: ``local_docker`` of the serving spec.
      limits: the validation spec; one try and 20 seconds unless it says otherwise.
      query: whether a request is sent.
      meanwhile: called when the server runs, before the model is waited for.
    """
    spec = ServingSpec.of(
        {"tensorflow_serving": {"tags": ["1"]}, "local_docker": dict(config or {}), "model_name": "m"}
    )
    runners: list[LocalDockerRunner] = []
    progress: list[str] = []

    def make_runner() -> LocalDockerRunner:
        runners.append(LocalDockerRunner(str(model), Binary(planner), spec))
        return runners[-1]

    def make_client(endpoint: str) -> TensorFlowServingClient:
        if meanwhile is not None:
            meanwhile(runners[-1])
        return TensorFlowServingClient(endpoint, "m", 1)

    request = tensorflow_serving_pb2.PredictRequest()
    request.model_spec.name = "m"
    requests = [SampleRequest(PREDICT, "serving_default", request.SerializeToString(), "request 1")]
    report = Validation(
        [Candidate(Binary(planner), "local_docker", make_runner, make_client)],
        ValidationSpec.of(
            {"num_tries": 1, "max_loading_time_seconds": 20, "stop_grace_seconds": 0.5, **(limits or {})}
        ),
        requests=(lambda: iter(requests)) if query else None,
        on_progress=progress.append,
    ).run(str(model), "m")
    return Outcome(report, progress, runners, left([runner.name for runner in runners]))


def left(names: list[str]) -> list[str]:
    """The containers and volumes that are still there of those whose names begin so."""
    there = (
        docker("ps", "-a", "--format", "{{.Names}}").split() + docker("volume", "ls", "--format", "{{.Name}}").split()
    )
    return [name for name in there if any(name.startswith(own) for own in names)]


def make_model(directory: pathlib.Path) -> pathlib.Path:
    (directory / "variables").mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"a model")
    (directory / "variables" / "variables.index").write_bytes(b"an index")
    (directory / "variables" / "numbers").symlink_to("variables.index")
    return directory


def reads_model(image: str, *, then: str = "good") -> ContainerPlanner:
    """A container that tells what it sees of the model, and then is a model server."""
    program = (
        "import os, sys\n"
        "for top, _, files in sorted(os.walk('/models')):\n"
        "    for name in sorted(files): print(os.path.join(top, name), open(os.path.join(top, name)).read(), flush=True)\n"
        "print('user', os.getuid(), flush=True)\n"
        "try: open('/models/m/1/new', 'w')\n"
        "except OSError as error: print(error.strerror, flush=True)\n"
        f"sys.argv = ['', '{then}', '--port=8500']\n"
        "from component_tests.fakes.servers.misbehaving_servers import main; main()\n"
    )
    return ContainerPlanner(image, ("python3", "-c", program))
