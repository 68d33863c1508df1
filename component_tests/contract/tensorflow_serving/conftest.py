"""One server with all good models, and the messages that tests send it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping

import pytest

from component_tests.fakes.saved_models import GOOD, SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server

#: Broken models that load all the same and fail at the first request.
LOADABLE = (*GOOD, "missing_variables", "missing_tensor")


def model_config(models: Mapping[str, pathlib.Path], more: str = "") -> str:
    """A model config file that serves base paths by name."""
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" {more} }}\n'
        for name, path in models.items()
    )
    return f"model_config_list {{\n{entries}}}\n"


@pytest.fixture(scope="session")
def server(saved_models: SavedModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServerProcess]:
    """A server of every model that can be loaded, each under its name in ``saved_models``."""
    directory = tmp_path_factory.mktemp("all_models")
    config = directory / "models.config"
    config.write_text(model_config({name: saved_models.base_path(name) for name in LOADABLE}))
    monitoring = directory / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with embedded_server(f"--model_config_file={config}", f"--monitoring_config_file={monitoring}") as running:
        yield running
