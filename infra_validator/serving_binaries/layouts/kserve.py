"""KServe's model servers: the directory as it is, told by an argument."""

from __future__ import annotations

import os

from infra_validator.saved_model.find import unreadable
from infra_validator.serving_binaries.layouts.arrangement import Arrangement, ServedModel, broken
from infra_validator.specs.binaries.model_repository import KServeLayout


def arrange(layout: KServeLayout, model: ServedModel) -> Arrangement:
    """The arguments of kserve's ``model_server.parser`` and of the servers that KServe ships.

    Raises:
      AttemptFailed: the directory is empty (MODEL_REPOSITORY_BROKEN).
      InfrastructureError: it cannot be read.
    """
    try:
        if model.is_here and not os.listdir(model.path):
            raise broken(model.path, "is empty")
    except OSError as error:
        raise unreadable(model.path, error) from error
    ports = (f"--{name}_port={port}" for name, port in model.ports.items())
    return Arrangement((f"--model_name={model.name}", "--model_dir=${model_path}", *ports))
