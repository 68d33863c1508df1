"""The model server's configuration: read, checked, made of flags (contract 1.4, 2.4)."""

from __future__ import annotations

import sys

from google.protobuf import text_format
from google.protobuf.message import Message

from infra_validator.embedded_server.status import from_os_error, invalid_argument
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

ModelConfigs = dict[str, serving_pb2.ModelConfig]


def read_text_proto(path: str, message: Message, allow_unknown_fields: bool = False) -> None:
    """Read a text-format protobuf file into ``message``.

    Args:
      allow_unknown_fields: whether fields that we have no use for are stepped over.

    Raises:
      StatusError: NOT_FOUND ``<path>; No such file or directory``, or INVALID_ARGUMENT ``Invalid protobuf file: '<path>'``.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        error.filename = error.filename or path
        raise from_os_error(error) from error
    try:
        text_format.Parse(content.decode(), message, allow_unknown_field=allow_unknown_fields)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        name = message.DESCRIPTOR.full_name.removeprefix("infra_validator.").replace(
            "tensorflow_serving", "tensorflow.serving"
        )
        print(f"Error parsing text-format {name}: {error}", file=sys.stderr, flush=True)
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from error


def read_model_config(path: str) -> serving_pb2.ModelServerConfig:
    """Read a model config file; errors as ``read_text_proto``."""
    config = serving_pb2.ModelServerConfig()
    read_text_proto(path, config)
    return config


def single_model(name: str, base_path: str) -> serving_pb2.ModelServerConfig:
    """The configuration that ``--model_name`` and ``--model_base_path`` mean."""
    config = serving_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform="tensorflow")
    return config


def checked(config: serving_pb2.ModelServerConfig, previous: ModelConfigs) -> ModelConfigs:
    """The models of a configuration in its order, by name.

    Args:
      previous: what was configured before.

    Raises:
      StatusError: INVALID_ARGUMENT, as the real server refuses it.
    """
    models: ModelConfigs = {}
    for model in config.model_config_list.config:
        if model.name in models:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        models[model.name] = model
    for model in models.values():
        if not _is_absolute(model.base_path):
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
    for model in models.values():
        platform = _platform(model)
        before = previous.get(model.name)
        if before is not None and (was := _platform(before)) != platform:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {model.name} platform was {was} "
                f"and new platform requested is {platform}"
            )
        if platform != "tensorflow":
            raise invalid_argument(f"Model {model.name} requests unsupported platform {platform}")
    return models


def _is_absolute(path: str) -> bool:
    return path.startswith("/") or "://" in path


def _platform(model: serving_pb2.ModelConfig) -> str:
    unspecified = serving_pb2.MODEL_TYPE_UNSPECIFIED
    if model.model_type == unspecified and not model.model_platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
            f"model name is {model.name}"
        )
    if model.model_type != unspecified and model.model_platform:
        raise invalid_argument(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, "
            f"model name is {model.name}"
        )
    if model.model_platform:
        return model.model_platform
    if model.model_type == serving_pb2.TENSORFLOW:
        return "tensorflow"
    raise invalid_argument(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
