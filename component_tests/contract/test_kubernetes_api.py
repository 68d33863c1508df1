"""The bodies of kubernetes_api.py against the fake API server; a real cluster has the same in real_platforms/test_kubernetes.py."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from component_tests.contract.kubernetes_api import BODIES, Api
from component_tests.fakes.kubernetes_api import FakeCluster
from component_tests.fakes.kubernetes_pods import misbehaving_image
from infra_validator.core.deadline import Deadline
from infra_validator.model_server_runners.kubernetes.api.client import connect
from infra_validator.model_server_runners.kubernetes.identity import Surroundings
from infra_validator.specs import KubernetesConfig


@pytest.fixture
def one(tmp_path: pathlib.Path) -> Iterator[Api]:
    with FakeCluster(images={"good": misbehaving_image("good")}) as cluster:
        cluster.pod_security["default"] = "restricted"
        config = KubernetesConfig(kubeconfig=cluster.kubeconfig(tmp_path))
        api = connect(config, Surroundings.here(), Deadline.after(30))
        yield Api(api, "default", "good")
        api.close()


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_the_fake_behaves_as_we_take_for_granted(one: Api, body: Callable[[Api], None]) -> None:
    body(one)
