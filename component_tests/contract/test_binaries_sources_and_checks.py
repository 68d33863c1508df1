"""The contracts of serving binaries, sources of requests and checks, over those of the package."""

from __future__ import annotations

import array
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.core.answer import Answer, Tensor
from infra_validator.core.sample_request import SampleRequest
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.request_source import requests_made_up, requests_of_caller, requests_of_file
from infra_validator.saved_model.graph import read_graph
from infra_validator.specs import RequestSpec
from infra_validator.testing.contracts import AnswerCheckContract, RequestSourceContract, ServingBinaryContract
from infra_validator.validation.answers.against_limits import AllowedValues, NotConstant, Ranges, SumsToOne
from infra_validator.validation.answers.against_signature import FiniteNumbers
from infra_validator.validation.answers.check import Check


class TestTensorFlowServing(ServingBinaryContract):
    """Embedded."""

    @pytest.fixture(autouse=True)
    def _models(self, saved_models: SavedModels) -> None:
        self.models = saved_models

    def serving_spec(self) -> dict[str, Any]:
        return {"tensorflow_serving": {}, "local_process": {}}

    def good_model(self) -> pathlib.Path:
        return self.models.path("half_plus_two")

    def bad_model(self) -> pathlib.Path:
        return self.models.path("unknown_op")


class TestModelRuntime(TestTensorFlowServing):
    """Our own runtime."""

    def serving_spec(self) -> dict[str, Any]:
        return {"model_runtime": {}, "local_process": {}}


class _OfModel(RequestSourceContract):
    @pytest.fixture(autouse=True)
    def _graph(self, saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
        self.graph = read_graph(str(saved_models.path("half_plus_two")), frozenset({"serve"}))
        self.file = tmp_path / "requests.json"
        self.file.write_text('{"inputs": {"x": [1.0]}}\n{"inputs": {"x": [2.0]}}\n{"instances": [3.0, 4.0]}\n')


class TestFile(_OfModel):
    def make_requests(self) -> Callable[[], Iterable[SampleRequest | Mapping[str, Any]]]:
        return requests_of_file(os.fspath(self.file), RequestSpec(), self.graph, "m")


class TestMadeUp(_OfModel):
    def make_requests(self) -> Callable[[], Iterable[SampleRequest | Mapping[str, Any]]]:
        return requests_made_up(RequestSpec.of({"generate": {}, "num_examples": 5}), self.graph, "m")


class TestCaller(_OfModel):
    def make_requests(self) -> Callable[[], Iterable[SampleRequest | Mapping[str, Any]]]:
        def make() -> Iterable[SampleRequest]:
            return (SampleRequest(methods.PREDICT, "s", b"payload", f"number {n}") for n in range(3))

        return requests_of_caller(make, RequestSpec(), {})


Asked = tuple[SampleRequest, Answer]


def asked(label: str, *values: float) -> Asked:
    request = SampleRequest(methods.PREDICT, "serving_default", label.encode(), label)
    return request, Answer({"y": Tensor(1, (len(values),), memoryview(array.array("f", values).tobytes()))})


class TestChecks(AnswerCheckContract):
    @pytest.fixture(
        autouse=True,
        params=[
            (lambda: Ranges({"y": (0, 1)}), [asked("a", 0, 1)], [asked("a", 0.5), asked("b", 2)]),
            (lambda: SumsToOne(["y"]), [asked("a", 0.25, 0.75)], [asked("a", 0.25, 0.25)]),
            (lambda: AllowedValues({"y": [1, 2]}), [asked("a", 1, 2)], [asked("a", 1, 3)]),
            (lambda: NotConstant(["y"]), [asked("a", 1), asked("b", 2)], [asked("a", 1), asked("b", 1)]),
            (lambda: FiniteNumbers(()), [asked("a", 1)], [asked("a", float("nan"))]),
        ],
        ids=["ranges", "sums_to_one", "allowed", "not_constant", "finite"],
    )
    def _check(self, request: pytest.FixtureRequest) -> None:
        self.make, self.passing, self.failing = request.param

    def make_check(self) -> Check:
        check: Check = self.make()
        return check

    def good(self) -> list[Asked]:
        return list(self.passing)

    def bad(self) -> list[Asked]:
        return list(self.failing)
