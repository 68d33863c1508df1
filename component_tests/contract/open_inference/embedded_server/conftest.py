"""One embedded server that speaks the protocol, with all the models that its tests ask."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from component_tests.contract.tensorflow_serving.conftest import model_config
from component_tests.fakes.all_datatypes import write_all_datatypes
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server

FLAG = "--enable_open_inference"
MODELS = ("half_plus_two", "two_inputs", "identity", "vocabulary", "signatures", "defaults", "nan", "odd_signatures")


@pytest.fixture(scope="session")
def server(saved_models: SavedModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServerProcess]:
    """The models of MODELS under their names, and ``datatypes``; nothing that it is asked may leave a traceback."""
    directory = tmp_path_factory.mktemp("open_inference")
    write_all_datatypes(saved_models, directory / "datatypes")
    config = directory / "models.config"
    paths: dict[str, pathlib.Path] = {name: saved_models.base_path(name) for name in MODELS}
    config.write_text(model_config({**paths, "datatypes": directory / "datatypes"}))
    monitoring = directory / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with embedded_server(f"--model_config_file={config}", f"--monitoring_config_file={monitoring}", FLAG) as running:
        yield running
        assert running.process.poll() is None
        assert "Traceback" not in running.stderr + running.stdout
