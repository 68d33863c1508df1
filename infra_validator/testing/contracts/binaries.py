"""What every serving binary must do: a plan that starts nothing, and a server that a client of the family can talk to."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence

import pytest

from infra_validator import wiring
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError, ModelRejected
from infra_validator.core.launch_plan import LaunchPlan
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import ModelStatus
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.serving_binaries.base_binary import BaseServingBinary
from infra_validator.specs import ServingSpec
from infra_validator.testing.running_server import serving

_NOISE = ("", "\n", "no error\n" * 1000, "\x00\xff\ufffd", "E: " + "x" * 100_000)


class ServingBinaryContract:
    """What the base binary promises, on a platform of this machine."""

    def serving_spec(self) -> object:
        """A serving spec with the binary, on a platform where its server can really be started here."""
        raise NotImplementedError

    def good_model(self) -> str | os.PathLike[str]:
        """A model that the server loads."""
        raise NotImplementedError

    def bad_model(self) -> str | os.PathLike[str]:
        """A model that passes every look at its files, and that the server refuses, or dies of."""
        raise NotImplementedError

    def _binaries(self) -> tuple[ServingSpec, Sequence[BaseServingBinary]]:
        spec = ServingSpec.of(self.serving_spec())
        return spec, wiring.serving_binaries_function(spec.binary)(spec)

    def _plan(self) -> tuple[BaseServingBinary, LaunchPlan]:
        spec, binaries = self._binaries()
        return binaries[0], binaries[0].MakeLaunchPlan(os.fspath(self.good_model()), spec.platform)

    def test_a_spec_means_one_at_least_and_each_has_a_label_of_its_own(self) -> None:
        spec, binaries = self._binaries()
        assert binaries
        assert all(binary.name == spec.binary for binary in binaries)
        labels = [binary.label for binary in binaries]
        assert all(labels)
        assert len(set(labels)) == len(labels)

    def test_its_client_is_known(self) -> None:
        _, binaries = self._binaries()
        for binary in binaries:
            assert issubclass(wiring.client_class(binary.client), BaseModelServerClient)

    def test_the_plan_serves_the_model_that_is_named(self) -> None:
        spec, binaries = self._binaries()
        for binary in binaries:
            plan = binary.MakeLaunchPlan(os.fspath(self.good_model()), spec.platform)
            assert os.path.samefile(plan.model.source, self.good_model())
            assert plan.model.name == spec.model_name
            assert plan.binary == spec.binary
            assert plan.label == binary.label
            assert plan.image or plan.command

    def test_making_a_plan_changes_nothing(self) -> None:
        spec, _ = self._binaries()
        before = copy.deepcopy(spec), dict(os.environ), sorted(os.listdir(self.good_model()))
        _, first = self._plan()
        _, second = self._plan()
        assert first == second
        assert before == (spec, dict(os.environ), sorted(os.listdir(self.good_model())))

    def test_arguments_hold_placeholders_that_platforms_fill_in(self) -> None:
        _, plan = self._plan()
        values = dict.fromkeys(LaunchPlan.PLACEHOLDERS, "1")
        assert all(isinstance(argument, str) for argument in plan.arguments(**values))
        assert set(plan.file_texts(**values)) == set(plan.files)

    @pytest.mark.parametrize("log", _NOISE, ids=["empty", "blank", "harmless", "binary", "long"])
    def test_a_log_that_says_nothing_explains_nothing(self, log: str) -> None:
        binary, _ = self._plan()
        assert binary.Explain(log) is None

    def test_its_server_loads_a_good_model(self) -> None:
        with serving(self.good_model(), self.serving_spec()) as server, server.client() as client:
            client.WaitUntilModelLoaded(Deadline.after(30))
            assert client.GetModelStatus(Deadline.after(30)).status is ModelStatus.READY

    def test_its_server_does_not_load_a_bad_one(self) -> None:
        with pytest.raises((ModelRejected, InfrastructureError)) as refused:
            with serving(self.bad_model(), self.serving_spec(), max_loading_time_seconds=60):
                pytest.fail("the bad model was served")
        assert refused.value.reason is not ReasonCode.INTERNAL_ERROR
        assert isinstance(refused.value, ModelRejected), f"the model is at fault: {refused.value}"
