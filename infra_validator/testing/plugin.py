"""The pytest plugin: ``pytest_plugins = ["infra_validator.testing.plugin"]`` in a ``conftest.py``."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Protocol

import pytest

from infra_validator.specs import ServingSpec
from infra_validator.testing import spares
from infra_validator.testing.running_server import RunningServer, serving


class ModelServer(Protocol):
    """What the fixture ``model_server`` gives."""

    def __call__(self, model: str | os.PathLike[str], serving_spec: object = None) -> RunningServer:
        """The server of a model; raises as ``serving`` does."""
        ...


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    """Starts the server of a model the first time that a test asks for it; all are stopped when the session ends."""
    running: dict[str, RunningServer] = {}
    with contextlib.ExitStack() as stopping:

        def server_of(model: str | os.PathLike[str], serving_spec: object = None) -> RunningServer:
            spec = None if serving_spec is None else ServingSpec.of(serving_spec)
            key = json.dumps([os.path.abspath(os.fspath(model)), spec.to_dict() if spec is not None else None])
            if key not in running:
                running[key] = stopping.enter_context(serving(model, spec))
            return running[key]

        yield server_of
    spares.end()
