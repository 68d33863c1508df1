"""Every name of the wiring leads to a class or function of its family; so must what other packages offer by entry points."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from infra_validator import wiring
from infra_validator.core.errors import UsageError
from infra_validator.model_server_clients.base_client import BaseModelServerClient
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner


@pytest.mark.parametrize("platform", wiring.PLATFORMS)
def test_platforms(platform: str) -> None:
    found = wiring.runner_class(platform)
    assert issubclass(found, BaseModelServerRunner)
    assert found.platform == platform


@pytest.mark.parametrize("platform", sorted({*wiring.PLATFORMS} - {"address"}))
def test_every_platform_that_starts_something_has_its_garbage_collector(platform: str) -> None:
    assert callable(wiring.garbage_collector(platform))


@pytest.mark.parametrize("client", wiring.CLIENTS)
def test_clients(client: str) -> None:
    assert issubclass(wiring.client_class(client), BaseModelServerClient)


@pytest.mark.parametrize("binary", wiring.SERVING_BINARIES)
def test_serving_binaries(binary: str) -> None:
    assert callable(wiring.serving_binaries_function(binary))


@pytest.fixture
def offered(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's installed package, with entry points good and bad."""
    (tmp_path / "their_package.py").write_text(
        "from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner\n"
        "class TheirRunner(LocalProcessRunner):\n    platform = 'theirs'\n"
        "class NoRunner:\n    pass\n"
        "class StopsItself(TheirRunner):\n    def Stop(self, deadline=None):\n        pass\n"
        "from infra_validator.serving_binaries.base_binary import BaseServingBinary\n"
        "class TheirBinary(BaseServingBinary):\n"
        "    label = 'theirs'\n"
        "    def MakeLaunchPlan(self, model_path, platform):\n        raise NotImplementedError\n"
        "class HalfABinary(BaseServingBinary):\n    pass\n"
        "NUMBER = 3\n"
    )
    metadata = tmp_path / "their_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[infra_validator.platforms]\ntheirs = their_package:TheirRunner\nbroken = their_package:NoRunner\n"
        "stops_itself = their_package:StopsItself\nlocal_process = their_package:TheirRunner\n"
        "[infra_validator.clients]\nbroken = their_package:TheirBinary\n"
        "[infra_validator.serving_binaries]\ntheirs = their_package:TheirBinary\nbroken = their_package:NUMBER\n"
        "half = their_package:HalfABinary\n"
        "[infra_validator.garbage_collectors]\nbroken = their_package:NUMBER\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("offered")
def test_what_another_package_offers() -> None:
    assert wiring.runner_class("theirs").platform == "theirs"
    assert wiring.serving_binaries_function("theirs").__qualname__ == "BaseServingBinary.OfSpec"


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("find", "kind"),
    [
        (wiring.runner_class, "BaseModelServerRunner"),
        (wiring.client_class, "BaseModelServerClient"),
        (wiring.serving_binaries_function, "BaseServingBinary"),
        (wiring.garbage_collector, "function"),
    ],
)
def test_what_another_package_offers_by_mistake(find: Callable[[str], object], kind: str) -> None:
    with pytest.raises(UsageError, match=f"'broken' of the package their-package 1.0 leads to .* is no {kind}"):
        find("broken")


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("find", "name", "problem"),
    [
        (wiring.runner_class, "stops_itself", "which overrides Stop; that is BaseModelServerRunner's alone"),
        (wiring.serving_binaries_function, "half", "which lacks MakeLaunchPlan, label"),
    ],
)
def test_what_does_not_fit(find: Callable[[str], object], name: str, problem: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' of the package their-package 1.0 leads to .*, {problem}"):
        find(name)


@pytest.mark.usefixtures("offered")
def test_what_is_built_in_keeps_its_name() -> None:
    assert wiring.runner_class("local_process").__module__.startswith("infra_validator.")


@pytest.mark.usefixtures("offered")
def test_a_name_that_nobody_offers() -> None:
    with pytest.raises(UsageError, match=r"nothing is called 'thiers'. Did you mean 'theirs'\?"):
        wiring.runner_class("thiers")


def test_the_names_that_users_of_tfx_import() -> None:
    from infra_validator.model_server_runners.kubernetes_runner import KubernetesRunner
    from infra_validator.model_server_runners.local_docker_runner import LocalDockerRunner

    assert wiring.runner_class("kubernetes") is KubernetesRunner
    assert wiring.runner_class("local_docker") is LocalDockerRunner
    assert issubclass(LocalDockerRunner, BaseModelServerRunner)


def test_entry_points_are_looked_up_only_for_a_name_that_is_not_built_in() -> None:
    code = (
        "import sys\n"
        "from infra_validator import wiring\n"
        "from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec\n"
        "spec = ServingSpec.of({'tensorflow_serving': {}, 'local_process': {}})\n"
        "RequestSpec.of({'generate': {}}), ValidationSpec.of({'answers': {'sums_to_one': ['y']}})\n"
        "wiring.runner_class(spec.platform), wiring.serving_binaries_function(spec.binary)\n"
        "wiring.client_class('tensorflow_serving')\n"
        "print('importlib.metadata' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
