"""The production server's model config file, made to fit a server that has one model, somewhere else."""

from __future__ import annotations

import dataclasses

from infra_validator.core.errors import SpecError, shorten
from infra_validator.core.launch_plan import literal
from infra_validator.protos import tensorflow_serving_pb2 as pb

_FIELD = "serving_spec.tensorflow_serving.model_config_file"
_BASE_PATH = "@MODEL_BASE_PATH@"


@dataclasses.dataclass(frozen=True)
class FittedConfig:
    """A configuration for a server that has one model in one version.

    Attributes:
      text: a ModelServerConfig with the placeholder ``${model_base_path}``.
      notes: what could not be kept as it was written, one sentence each.
    """

    text: str
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ModelConfigFile:
    """Production's model config file, as far as it is about the model under test.

    Attributes:
      path: the file.
      entry: the model's own entry, as written.
      others: the names of the other models in it.
    """

    path: str
    entry: pb.ModelConfig
    others: tuple[str, ...] = ()

    @property
    def asked_versions(self) -> tuple[int, ...]:
        """The only versions that production serves, where its policy names them."""
        policy = self.entry.model_version_policy
        return tuple(policy.specific.versions) if policy.WhichOneof("policy_choice") == "specific" else ()

    def fitted_to(self, version: int) -> FittedConfig:
        """The configuration to serve ``version`` with: as written, but for the base path, other models and other versions.

        Version labels stay: a server that refuses them here refuses them in production.
        """
        from google.protobuf import text_format

        notes = []
        if self.others:
            notes.append(f"{self.path}: only {self.entry.name} is served, not {', '.join(self.others)}.")
        entry = pb.ModelConfig()
        entry.CopyFrom(self.entry)
        entry.base_path = _BASE_PATH
        if entry.model_version_policy.WhichOneof("policy_choice") == "specific":
            asked = sorted(set(self.asked_versions))
            if asked != [version]:
                missing = "" if version in asked else ", which does not name it"
                shown = ", ".join(str(number) for number in asked) or "none"
                notes.append(
                    f"{self.path}: version {version} is served in place of the policy's specific versions ({shown}){missing}."
                )
            entry.model_version_policy.specific.versions[:] = [version]
        fitted = pb.ModelServerConfig(model_config_list=pb.ModelConfigList(config=[entry]))
        text = literal(text_format.MessageToString(fitted)).replace(_BASE_PATH, "${model_base_path}")
        return FittedConfig(text, tuple(notes))


def read_model_config(path: str, model_name: str) -> ModelConfigFile:
    """Read production's model config file.

    Raises:
      SpecError: the file cannot be read, is no ModelServerConfig, or has no such model.
    """
    from google.protobuf import text_format  # few validations have such a file

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
    others = tuple(entry.name for entry in config.model_config_list.config if entry.name != model_name)
    return ModelConfigFile(path, entries[0], others)
