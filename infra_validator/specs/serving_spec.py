"""The serving spec: serving binary, serving platform, model name."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from infra_validator.core.errors import SpecError
from infra_validator.specs.extensions import PLATFORMS, SERVING_BINARIES
from infra_validator.specs.local_process import LocalProcessConfig, Sandbox
from infra_validator.specs.reader import extensions_field, not_negative, plain, read, spec_field, to_dict

if TYPE_CHECKING:
    from infra_validator.specs.binaries.model_runtime import ModelRuntimeConfig
    from infra_validator.specs.binaries.open_inference import OpenInferenceConfig
    from infra_validator.specs.kubernetes.config import KubernetesConfig
    from infra_validator.specs.local_docker import LocalDockerConfig

_SPECS = __package__
_BINARIES = ("tensorflow_serving", "model_runtime", "open_inference")
#: Where the entry point of TensorFlow Serving's image reads which model to serve.
MODEL_VARIABLES = ("MODEL_NAME", "MODEL_BASE_PATH")

_PREFER_TFLITE = re.compile(r"--prefer_tflite_model(?:=(?P<value>.*))?")
_WARM_UP = re.compile(r"--enable_model_warmup(?:=(?P<value>.*))?")
_OWN_PLATFORM_CONFIG = re.compile(r"--platform_config_file=.+")
_FALSE = ("false", "f", "no", "n", "0")  # as TensorFlow reads a flag
_PLATFORMS = ("local_process", "local_docker", "kubernetes", "address")

#: Flags of TensorFlow Serving whose value is the validator's business: with another one it would test something else, or nothing.
_OURS = (
    "port",
    "rest_api_port",
    "grpc_socket_path",
    "model_name",
    "model_base_path",
    "model_config_file",
    "port_file",
    "bind_address",
    "version",
    "help",
)
_BETTER_SAID = {
    "model_config_file": "Name the file in serving_spec.tensorflow_serving.model_config_file.",
    "port": "Leave the ports to the validator; local_process.grpc_port sets a fixed one.",
    "model_name": "Set serving_spec.model_name.",
}


def _model_name(name: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", name) or ".." in name:
        return f"must be 1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, not {name!r}"
    return None


def _check_arguments(field: str, arguments: tuple[str, ...]) -> None:
    """Check arguments for TensorFlow Serving.

    Args:
      field: the path of the field that they stand in.
      arguments: as given.

    Raises:
      SpecError: one collides with the validator's own, or cannot be an argument at all.
    """
    for index, argument in enumerate(arguments):
        flag = re.match(r"--(\w+)", argument)
        if flag and flag[1] in _OURS:
            raise SpecError(
                f"{field}[{index}]",
                f"{argument!r} collides with what the validator sets itself",
                next_step=_BETTER_SAID.get(flag[1], "Remove the argument."),
            )
        if "\0" in argument:
            raise SpecError(f"{field}[{index}]", "holds a NUL character")


def _image_name(name: str) -> str | None:
    """Check of an image's name, by the grammar of Docker's references (github.com/distribution/reference)."""
    registry, slash, path = name.partition("/")
    if not slash or (not set(".:") & set(registry) and registry != "localhost" and registry == registry.lower()):
        registry, path = "", name  # no registry is named: all of it is the path
    path, at, digest = path.partition("@")
    path, colon, tag = path.partition(":")
    component = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
    host = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d+)?"
    if not re.fullmatch(rf"{component}(?:/{component})*", path) or (registry and not re.fullmatch(host, registry)):
        return f"is no image name: {name!r}"
    if at:
        return f"already has a digest: {name!r}. Write {digest!r} into digests"
    if colon:
        return f"already has a tag: {name!r}. Write {tag!r} into tags"
    return None


@dataclasses.dataclass(frozen=True)
class TensorFlowServingConfig:
    """TensorFlow Serving as the serving binary. The first three fields are TFX's."""

    image_name: str = spec_field(
        "tensorflow/serving", "The image, without tag or digest.", check=_image_name, unset_at_zero=True
    )
    tags: tuple[str, ...] = spec_field((), "Tags of the image, or tag@sha256:...; each is validated.")
    digests: tuple[str, ...] = spec_field((), "Digests of the image (sha256:...); each is validated.")
    advisory: tuple[str, ...] = spec_field((), "Which of the tags and digests only report and do not decide.")
    extra_args: tuple[str, ...] = spec_field((), "Arguments appended to the server's, as in production.")
    model_config_file: str = spec_field(
        "", "A ModelServerConfig text file to serve with, as in production.", file="path"
    )


def _host_and_port(text: str) -> str | None:
    """Check of an address."""
    host, colon, number = text.rpartition(":")
    host_is_plain = re.fullmatch(r"\[[0-9A-Fa-f:.%\w]+\]|[^\s:/@\[\]]+", host)
    if not text or (colon and host_is_plain and re.fullmatch(r"[0-9]{1,5}", number) and 0 < int(number) < 65536):
        return None
    return f"must be host:port, as in staging.example.com:8500 or [::1]:8500, not {text!r}"


@dataclasses.dataclass(frozen=True)
class AddressConfig:
    """A server that is already there: nothing is started or stopped. Ours."""

    grpc: str = spec_field("", "The server's gRPC address, host:port.", check=_host_and_port)
    rest: str = spec_field("", "Its REST address, host:port; empty: it is not asked over REST.", check=_host_and_port)
    version: int = spec_field(0, "The version that is meant; 0: whatever the server has.", check=not_negative)

    def check(self, path: str) -> None:
        """Called by the reader. Raises SpecError."""
        if not self.asked:
            raise SpecError(f"{path}.grpc", "is not given", next_step="Give the server's gRPC address, host:port.")

    @property
    def asked(self) -> str:
        """The address that is watched and asked: of gRPC, or of REST where only that is given."""
        return self.grpc or self.rest


class _Unrestricted:
    """A platform that holds a server to nothing."""

    hardening = "strict"
    restrictions: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ServingSpec:
    """What to run, where, and under which name. Field names and defaults are TFX's; the rest is ours."""

    tensorflow_serving: TensorFlowServingConfig | None = spec_field(None, "Serving binary: TensorFlow Serving.")
    model_runtime: ModelRuntimeConfig | None = spec_field(
        None, "Serving binary: a model-mesh ModelRuntime.", part=f"{_SPECS}.binaries.model_runtime:ModelRuntimeConfig"
    )
    open_inference: OpenInferenceConfig | None = spec_field(
        None,
        "Serving binary: a server that speaks the Open Inference Protocol.",
        part=f"{_SPECS}.binaries.open_inference:OpenInferenceConfig",
    )
    local_process: LocalProcessConfig | None = spec_field(None, "Serving platform: a process of this machine.")
    local_docker: LocalDockerConfig | None = spec_field(
        None, "Serving platform: a container of a Docker daemon.", part=f"{_SPECS}.local_docker:LocalDockerConfig"
    )
    kubernetes: KubernetesConfig | None = spec_field(
        None, "Serving platform: a pod of a Kubernetes cluster.", part=f"{_SPECS}.kubernetes.config:KubernetesConfig"
    )
    address: AddressConfig | None = spec_field(None, "Serving platform: a server that is already there.")
    model_name: str = spec_field(
        "infra-validation-model", "The model's name on the server.", check=_model_name, unset_at_zero=True
    )

    other_binaries: Mapping[str, Any] = extensions_field(
        SERVING_BINARIES, "Serving binary: one of an installed package (docs/extending.md)."
    )
    other_platforms: Mapping[str, Any] = extensions_field(
        PLATFORMS, "Serving platform: one of an installed package (docs/extending.md)."
    )

    @classmethod
    def of(cls, given: object) -> ServingSpec:
        """Read a TFX ServingSpec proto, its JSON, a dict, YAML, or a file; see specs/reader.py."""
        return read(cls, given, "serving_spec")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data without the fields that have their default; ``of`` reads it back."""
        return to_dict(self)

    @property
    def binary(self) -> str:
        """The serving binary's name."""
        return next(iter((*self._given(_BINARIES), *self.other_binaries)))

    @property
    def platform(self) -> str:
        """The serving platform's name."""
        return next(iter((*self._given(_PLATFORMS), *self.other_platforms)))

    @property
    def binary_config(self) -> Any:
        """What the spec says of its serving binary: the config class of the binary."""
        return self.other_binaries.get(self.binary) or getattr(self, self.binary)

    @property
    def platform_config(self) -> Any:
        """What the spec says of its serving platform: the config class of the platform."""
        return self.other_platforms.get(self.platform) or getattr(self, self.platform)

    def _given(self, names: tuple[str, ...]) -> list[str]:
        return [name for name in names if getattr(self, name) is not None]

    @property
    def hardening(self) -> str:
        """Whether servers run under restrictions of the platform's (``strict``, ``image``, ``auto``); ``strict`` where it has none."""
        hardening: str = self._restricted.hardening
        return hardening

    @property
    def restrictions(self) -> tuple[str, ...]:
        """What a server is held to beyond what its image's author did, one phrase each."""
        restrictions: tuple[str, ...] = self._restricted.restrictions
        return restrictions

    @property
    def _restricted(self) -> Any:
        return self.local_docker or self.kubernetes or self.local_process or _Unrestricted()

    def as_authored(self) -> ServingSpec:
        """The spec whose servers run as their images' authors made them."""
        if self.local_docker is not None:
            return dataclasses.replace(self, local_docker=dataclasses.replace(self.local_docker, hardening="image"))
        if self.kubernetes is not None:
            return dataclasses.replace(self, kubernetes=dataclasses.replace(self.kubernetes, hardening="image"))
        if self.local_process is not None:
            return dataclasses.replace(self, local_process=dataclasses.replace(self.local_process, sandbox=Sandbox.OFF))
        return self

    @property
    def serves_named_files(self) -> bool:
        """Whether what answers is known to have been given the files of the model that is named."""
        if self.address is not None or (self.kubernetes is not None and not self.kubernetes.brings_model):
            return False
        return self.model_runtime is None or not self.model_runtime.inference_address

    @property
    def prefers_tflite(self) -> bool:
        """Whether the server is told to load ``model.tflite`` rather than the SavedModel beside it."""
        asked = [match for argument in self._extra_arguments if (match := _PREFER_TFLITE.fullmatch(argument))]
        return self.tensorflow_serving is not None and bool(asked) and asked[-1]["value"] != "false"

    @property
    def turns_warmup_off(self) -> str:
        """The argument because of which the server looks at no model's warm-up file, or may not; empty where it does."""
        own = [argument for argument in self._extra_arguments if _OWN_PLATFORM_CONFIG.fullmatch(argument)]
        said = [match for argument in self._extra_arguments if (match := _WARM_UP.fullmatch(argument))]
        off = [said[-1][0]] if said and (said[-1]["value"] or "true").lower() in _FALSE else []
        return next(iter((*own, *off)), "")

    @property
    def _extra_arguments(self) -> list[str]:
        """The arguments that the spec adds to the server's."""
        places = (self.tensorflow_serving, self.platform_config)
        return [argument for place in places for argument in getattr(place, "extra_args", ())]

    def check(self, path: str) -> None:
        """Called by the reader; raises SpecError if what is said in one field does not go with another."""
        self._check_exactly_one(path, "serving binary", _BINARIES, self.other_binaries)
        self._check_exactly_one(path, "serving platform", _PLATFORMS, self.other_platforms)
        if self.address is not None:
            self._check_address(path)
        elif self.tensorflow_serving is not None:
            self._check_images(self.tensorflow_serving, f"{path}.tensorflow_serving")
            if self.local_docker is not None:
                self._check_container(self.local_docker, f"{path}.local_docker")
            _check_arguments(f"{path}.tensorflow_serving.extra_args", self.tensorflow_serving.extra_args)
            of_platform = getattr(self.platform_config, "extra_args", ())
            _check_arguments(f"{path}.{self.platform}.extra_args", of_platform)
        if self.model_runtime is not None:
            fixed_port = self.local_process.grpc_port if self.local_process else 0
            where = self._runs_as(self.model_runtime.image)
            self.model_runtime.check_on(f"{path}.model_runtime", where, fixed_port)
        if self.open_inference is not None and self.address is None:
            fixed_port = self.local_process.grpc_port if self.local_process else 0
            where = self._runs_as(self.open_inference.image)
            self.open_inference.check_on(f"{path}.open_inference", where, fixed_port)

    def _runs_as(self, image: str) -> str:
        """The platform whose rules hold: another package's runs images, or programs as a local process, as the spec names them."""
        return "local_process" if self.other_platforms and not image else self.platform

    def _check_address(self, path: str) -> None:
        """That nothing says how a server is to be started."""
        config = self.tensorflow_serving or self.open_inference
        if config is None:
            raise SpecError(
                f"{path}.{self.binary}",
                "cannot be validated at an address; only tensorflow_serving and open_inference can",
            )
        assert self.address is not None
        asked: tuple[str, ...] = ()
        if self.open_inference is not None:
            from infra_validator.specs.binaries.open_inference import OF_REQUESTS

            asked = OF_REQUESTS
            protocol = self.open_inference.protocol
            unused = "rest" if protocol == "grpc" else "grpc"
            if getattr(self.address, unused):
                raise SpecError(f"{path}.address.{unused}", f"has no effect: open_inference.protocol is {protocol}")
            if self.address.version:
                raise SpecError(f"{path}.address.version", "has no effect on open_inference; see its model_version")
        elif not self.address.grpc:
            raise SpecError(
                f"{path}.address.grpc", "is not given", next_step="Give the server's gRPC address, host:port."
            )
        unset = plain(type(config)())
        for field, value in plain(config).items():
            if value != unset[field] and field not in asked:
                raise SpecError(
                    f"{path}.{self.binary}.{field}",
                    "has no effect: the server at the address was started by somebody else",
                    next_step="Take the field out.",
                )

    def _check_images(self, config: TensorFlowServingConfig, where: str) -> None:
        if (self.local_docker or self.kubernetes) and not config.tags and not config.digests:
            raise SpecError(
                where,
                "names neither tags nor digests, so no server would be started",
                next_step='Name at least one image, for example "tags": ["2.19.0"].',
            )
        for index, tag in enumerate(config.tags):
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?", tag):
                raise SpecError(f"{where}.tags[{index}]", f"is no tag of an image: {tag!r}")
        for index, digest in enumerate(config.digests):
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
                raise SpecError(
                    f"{where}.digests[{index}]", f"must be sha256: and 64 hexadecimal digits, not {digest!r}"
                )
        images = [*(tag.partition("@")[0] for tag in config.tags), *config.digests]
        for index, name in enumerate(config.advisory):
            if name not in images:
                raise SpecError(f"{where}.advisory[{index}]", f"{name!r} is none of the tags and digests of this spec")
        if images and set(images) <= set(config.advisory):
            raise SpecError(f"{where}.advisory", "names every tag and digest; at least one must decide")

    def _check_container(self, config: LocalDockerConfig, where: str) -> None:
        """That the container serves the model that is validated: the image's entry point reads its name and place from variables."""
        for name in MODEL_VARIABLES:
            if name in config.env:
                raise SpecError(
                    f"{where}.env.{name}",
                    "would have the server serve another model than the one that is validated",
                    next_step="Remove it; serving_spec.model_name is the model's name.",
                )
        base = f"/models/{self.model_name}"
        for index, mount in enumerate(config.mounts):
            target = posixpath.normpath(mount.target)
            if target in ("/", "/models") or f"{target}/".startswith(f"{base}/"):
                raise SpecError(
                    f"{where}.mounts[{index}].target",
                    f"{mount.target} would hide the model that is validated, at {base}",
                    next_step="Mount it somewhere else.",
                )

    def _check_exactly_one(self, path: str, what: str, names: tuple[str, ...], others: Mapping[str, Any]) -> None:
        given = [*self._given(names), *others]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "none is given"
            raise SpecError(path, f"needs exactly one {what} out of {', '.join(names)}; {found}")
