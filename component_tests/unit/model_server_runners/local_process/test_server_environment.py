"""Which of the validator's environment variables a model under test may see."""

from __future__ import annotations

import pytest

from infra_validator.core.errors import SpecError
from infra_validator.model_server_runners.local_process.server_environment import server_environment
from infra_validator.specs import ServingSpec

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s", "GOOGLE_APPLICATION_CREDENTIALS": "/key.json", "AZURE_CLIENT_SECRET": "s",
    "HTTPS_PROXY": "http://user:secret@proxy", "http_proxy": "http://user:secret@proxy", "GITHUB_TOKEN": "s",
    "KUBECONFIG": "/k", "DOCKER_HOST": "unix:///x", "AIRFLOW__CORE__FERNET_KEY": "s", "PATHS": "x", "MY_TF_TOKEN": "s",
}  # fmt: skip
NEEDED = {
    "PATH": "/bin", "HOME": "/root", "LC_ALL": "C", "TZ": "UTC", "TMPDIR": "/tmp", "LD_LIBRARY_PATH": "/lib", "PYTHONPATH": "/p",
    "CUDA_VISIBLE_DEVICES": "0", "TF_CPP_MIN_LOG_LEVEL": "0", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2",
}  # fmt: skip


def test_what_a_server_needs_is_passed_on_and_nothing_else() -> None:
    assert server_environment({**SECRETS, **NEEDED}) == NEEDED


def test_the_spec_can_name_more() -> None:
    assert server_environment({**SECRETS, **NEEDED}, ["GITHUB_TOKEN"]) == {**NEEDED, "GITHUB_TOKEN": "s"}


def test_a_name_that_is_not_set_is_an_error_of_the_spec() -> None:
    with pytest.raises(SpecError, match="GITHUB_TOKN is not set"):
        server_environment(SECRETS, ["GITHUB_TOKN"])


@pytest.mark.parametrize("name", ["", "A=B"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(SpecError, match="env_from"):
        ServingSpec.of({"tensorflow_serving": {}, "local_process": {"env_from": [name]}})
