"""The production server's model config file, made to fit a server that has one model, somewhere else."""

from __future__ import annotations

from google.protobuf import text_format

from infra_validator.core.errors import SpecError, shorten
from infra_validator.core.launch_plan import literal
from infra_validator.protos import tensorflow_serving_pb2 as pb

_FIELD = "serving_spec.tensorflow_serving.model_config_file"
_BASE_PATH = "@MODEL_BASE_PATH@"


def read_model_config(path: str, model_name: str) -> str:
    """The entry of the model under test, as the text of a ModelServerConfig with the placeholder ``${model_base_path}``.

    Everything else of the entry stays as in production, except what only holds for production's versions: a ``specific`` version policy
    and version labels are left out. The other models of the file are not there to be served.

    Raises:
      SpecError: the file cannot be read, is no ModelServerConfig, or has no such model.
    """
    config = pb.ModelServerConfig()
    try:
        with open(path, encoding="utf-8") as file:
            text_format.Parse(file.read(), config)
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(_FIELD, f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error
    except text_format.ParseError as error:
        raise SpecError(
            _FIELD, f"{path} is no ModelServerConfig in protobuf's text format: {shorten(str(error), 300)}"
        ) from error
    entries = [entry for entry in config.model_config_list.config if entry.name == model_name]
    if len(entries) != 1:
        names = ", ".join(entry.name for entry in config.model_config_list.config) or "no model"
        raise SpecError(
            _FIELD,
            f"{path} must have one entry for the model {model_name}; it has {names}",
            next_step="Set serving_spec.model_name to the model's name in production.",
        )
    entry = entries[0]
    entry.base_path = _BASE_PATH
    entry.version_labels.clear()
    if entry.model_version_policy.WhichOneof("policy_choice") == "specific":
        entry.ClearField("model_version_policy")
    fitted = pb.ModelServerConfig(model_config_list=pb.ModelConfigList(config=[entry]))
    return literal(text_format.MessageToString(fitted)).replace(_BASE_PATH, "${model_base_path}")
