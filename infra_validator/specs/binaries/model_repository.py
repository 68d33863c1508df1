"""The part of a serving spec that says how a server wants its model repository: which files it finds the model by, and what is in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import SpecError
from infra_validator.specs.reader import not_negative, spec_field


def _inside(path: str) -> str | None:
    if path.startswith("/") or ".." in path.split("/"):
        return f"must be a path inside the model's directory, not {path!r}"
    return None


@dataclasses.dataclass(frozen=True)
class MLServerLayout:
    """MLServer's: `model-settings.json`, made where `implementation` is given, else in the model's directory. Adds `start <folder>`."""

    implementation: str = spec_field(
        "",
        "The class that serves it, as in `mlserver_sklearn.SKLearnModel`; empty: the model has a model-settings.json.",
    )
    uri: str = spec_field("", "The model's file in its directory; empty: the directory itself.", check=_inside)
    version: str = spec_field("", "The model's version, `parameters.version`.")
    extra: Mapping[str, Any] = spec_field({}, "What the implementation takes besides, `parameters.extra`.")

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        given = next((name for name in ("uri", "version", "extra") if getattr(self, name)), "")
        if given and not self.implementation:
            raise SpecError(f"{path}.implementation", f"must be given with {given}")


@dataclasses.dataclass(frozen=True)
class KServeLayout:
    """KServe's: the model's directory as it is. Adds `--model_name`, `--model_dir`, `--grpc_port`."""


@dataclasses.dataclass(frozen=True)
class TritonLayout:
    """Triton's: `config.pbtxt`, made where `backend` or `platform` is given, else in the model's directory, above those of its versions.
    Adds `--model-repository`, `--grpc-port`."""

    backend: str = spec_field(
        "", "The backend, as in `python` or `onnxruntime`; the model is then one version's directory."
    )
    platform: str = spec_field("", "The platform, as in `onnxruntime_onnx`; in the backend's place.")
    max_batch_size: int = spec_field(
        0,
        "The largest batch that Triton makes of requests; then the first dimension of `inputs` and `outputs` is the batch's.",
        check=not_negative,
    )
    parameters: Mapping[str, str] = spec_field({}, "What the backend takes besides, as in `EXECUTION_ENV_PATH`.")

    @property
    def makes_config(self) -> bool:
        """Whether config.pbtxt is made of the spec."""
        return bool(self.backend or self.platform)

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        given = next((name for name in ("max_batch_size", "parameters") if getattr(self, name)), "")
        if given and not self.makes_config:
            raise SpecError(f"{path}.backend", f"must be given with {given}")


@dataclasses.dataclass(frozen=True)
class PlainLayout:
    """No layout: the model's directory is there, and the arguments that are given say the rest."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the server wants its model repository; one of these."""

    mlserver: MLServerLayout | None = spec_field(None, "MLServer.")
    kserve: KServeLayout | None = spec_field(None, "KServe's model servers.")
    triton: TritonLayout | None = spec_field(None, "Triton.")
    plain: PlainLayout | None = spec_field(None, "Any other.")

    @property
    def name(self) -> str:
        """Which one."""
        return next(field.name for field in dataclasses.fields(self) if getattr(self, field.name) is not None)

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        fields = [field.name for field in dataclasses.fields(self)]
        named = [name for name in fields if getattr(self, name) is not None]
        if len(named) != 1:
            problem = f"names {' and '.join(named)}" if named else "names none"
            raise SpecError(path, f'{problem}; it must be one of {", ".join(fields)}, as in {{"plain": {{}}}}')
