"""A verdict waits for nothing that its specs do not name: what checking everything imports, seen in an interpreter of its own."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

from component_tests.fakes.saved_models import made_once

ROOT = pathlib.Path(__file__).parents[3]

CHECK = """
import json, sys
from infra_validator.cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]))
"""

#: Each of them belongs to another platform or protocol, or to what a spec must ask for.
NOT_ASKED_FOR = {
    "grpc",
    "docker",
    "kubernetes",
    "yaml",
    "infra_validator.model_server_runners.local_docker.runner",
    "infra_validator.protos.open_inference_pb2",
    "infra_validator.specs.kubernetes.config",
    "infra_validator.specs.local_docker",
    "infra_validator.specs.limits.load_spec",
    "infra_validator.validation.baseline.second_server",
    "infra_validator.validation.load.load_generator",
    "infra_validator.validation.warmup.proof",
}


def dry_run(**spec: object) -> set[str]:
    model = str(made_once().path("half_plus_two"))
    command = [sys.executable, "-c", CHECK, "validate", "--dry-run", "--model", model]
    command += ["--serving-spec", json.dumps({"tensorflow_serving": {"tags": ["2.19.0"]}, **spec})]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stdout
    return set(modules)


def test_a_local_process_waits_for_no_other_platform() -> None:
    assert not dry_run(local_process={"binary_path": sys.executable}) & NOT_ASKED_FOR


def test_a_platform_that_is_named_is_read() -> None:
    assert "infra_validator.specs.local_docker" in dry_run(local_docker={})
