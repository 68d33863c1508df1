"""``serving`` and the pytest fixture: a server for other people's tests."""

from __future__ import annotations

import json
import pathlib
import urllib.request
from typing import Any

import pytest

import infra_validator
from component_tests.fakes.saved_models import SavedModels
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError, ModelRejected, SpecError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_clients.tensorflow_serving import why_not_open

pytest_plugins = ["pytester"]

HERE: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}, "model_name": "half"}


def test_a_server_is_ready_in_the_block_and_gone_after_it(saved_models: SavedModels) -> None:
    with infra_validator.serving(saved_models.path("half_plus_two"), HERE) as server:
        with server.client() as client:
            assert client.GetModelStatus(Deadline.after(10)).status is ModelStatus.READY
        assert server.rest_url.endswith("/v1/models/half")
        body = json.dumps({"instances": [1.0, 2.0]}).encode()
        with urllib.request.urlopen(f"{server.rest_url}:predict", body, timeout=10) as answer:
            assert json.load(answer) == {"predictions": [2.5, 3.0]}
        assert server.log()
    assert why_not_open(server.grpc_address, Deadline.after(5))


def test_it_is_stopped_when_the_block_fails(saved_models: SavedModels) -> None:
    with pytest.raises(ZeroDivisionError), infra_validator.serving(saved_models.path("half_plus_two")) as server:
        raise ZeroDivisionError
    assert why_not_open(server.grpc_address, Deadline.after(5))


def test_a_model_that_cannot_be_served_is_told_with_the_servers_words(saved_models: SavedModels) -> None:
    with pytest.raises(ModelRejected) as rejected, infra_validator.serving(saved_models.path("unknown_op")):
        pytest.fail("it was served")
    assert rejected.value.reason is ReasonCode.OP_NOT_REGISTERED
    assert "OpThatNobodyHas" in str(rejected.value)


def test_no_model(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InfrastructureError) as refused, infra_validator.serving(tmp_path / "nothing"):
        pytest.fail("it was served")
    assert refused.value.reason is ReasonCode.MODEL_NOT_FOUND


def test_several_binaries_are_not_one_server(saved_models: SavedModels) -> None:
    spec = {"tensorflow_serving": {"tags": ["1", "2"]}, "local_docker": {}}
    with pytest.raises(UsageError), infra_validator.serving(saved_models.path("half_plus_two"), spec):
        pytest.fail("it was served")


def test_a_wrong_spec(saved_models: SavedModels) -> None:
    spec = {"tensorflow_serving": {}, "address": {"grpc": "127.0.0.1:1", "rest": "x"}}
    with pytest.raises(SpecError), infra_validator.serving(saved_models.path("half_plus_two"), spec):
        pytest.fail("it was served")


def test_the_pytest_fixture(saved_models: SavedModels, pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["infra_validator.testing.plugin"]')
    pytester.makepyfile(
        f"""
        import urllib.request

        MODEL = {str(saved_models.path("half_plus_two"))!r}

        def test_it_answers(model_server):
            url = model_server(MODEL).rest_url
            assert b"AVAILABLE" in urllib.request.urlopen(url, timeout=10).read()

        def test_one_server_for_all_tests(model_server):
            assert model_server(MODEL) is model_server(MODEL)
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
