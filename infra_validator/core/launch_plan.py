"""What a serving binary asks a runner to start: plain, frozen data that every platform can read."""

from __future__ import annotations

import dataclasses
import posixpath
import re
import string
from collections.abc import Mapping
from typing import Any, Protocol

_LAST_WORDS = 6  # lines of a log; what a server prints between the cause of its end and the end


@dataclasses.dataclass(frozen=True)
class ModelMount:
    """Where the model is and where the server must see it.

    Attributes:
      source: the SavedModel directory; a local path, or a URI that the platform can read.
      base_path: the directory that the server calls its models', e.g. ``/models``.
      name: the model's name.
      version: the version under which it is served; 0 where whatever version the server has is meant.
      apart: whether a server that sees the files themselves may write others beside them, which must not come into the source.
      holds_versions: whether the source holds directories for versions itself, so that it appears in the version directory's parent.
    """

    source: str
    base_path: str
    name: str
    version: int
    holds_versions: bool = False
    apart: bool = False

    @property
    def model_base_path(self) -> str:
        """TensorFlow Serving's ``--model_base_path``: the directory that holds the version directories."""
        return f"{self.base_path}/{self.name}"

    @property
    def inside(self) -> str:
        """Where below ``model_base_path`` the source appears; empty: it is that directory."""
        return "" if self.holds_versions else str(self.version)

    @property
    def target(self) -> str:
        """Where the source itself must appear."""
        return f"{self.model_base_path}/{self.inside}".rstrip("/")


@dataclasses.dataclass(frozen=True)
class LaunchPlan:
    """One model server to start.

    Attributes:
      binary: the serving binary's name in the serving spec, e.g. ``tensorflow_serving``.
      label: how reports call it, e.g. ``tensorflow/serving:2.19.0`` or ``embedded model server 0.1.0``.
      model: where the model is and where the server must see it.
      image: the container image; empty on platforms without images.
      command: the program and its first arguments; empty means the image's own entry point.
      args: the arguments after the command. ``${name}`` stands for a value that only the platform knows: the names in
        ``PLACEHOLDERS``. A literal dollar sign is written ``$$``.
      env: environment variables.
      ports: the ports that the server listens on inside a container, by protocol (``grpc``, ``rest``). ``grpc``, and so ``${grpc_port}``,
        is the one that the client asks, whatever it speaks there.
      files: small text files that the server must see, by name without a directory; placeholders in them are filled in as in
        ``args``. The platform puts them into one directory, ``${files_dir}``.
      model_files: likewise, files that must stand in ``${model_base_path}``, beside the directory of the version. None where
        the model holds its versions itself.
      unix_socket: on a local process, the path of the Unix socket that the server listens on instead of a port; empty: a port.
      port_taken: a regular expression for what the server prints when it ends because its port is in use. A platform that
        chose the port starts it again with another one.
      client_arguments: what the model server client must be told beyond the endpoint, the model's name and its version.
      own_args: those of ``args`` that the validator adds for its own sake: an image that does not know them may do without.
      notes: what could not be made as the specs have it, one sentence each; for the report.
    """

    #: What a platform fills in: the chosen ports, the file to write self-chosen ports to, the address to listen on, the
    #: directory that holds the version directories, and the one that holds ``files``; and what follows of these: the
    #: directory that holds ``model_base_path``, and the one where the model's own files are.
    PLACEHOLDERS = (
        "grpc_port",
        "rest_port",
        "port_file",
        "bind_address",
        "model_base_path",
        "files_dir",
        "model_root",
        "model_path",
    )

    binary: str
    label: str
    model: ModelMount
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ports: Mapping[str, int] = dataclasses.field(default_factory=lambda: {"grpc": 8500, "rest": 8501})
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    model_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unix_socket: str = ""
    port_taken: str = r"(?i)address already in use"
    client_arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    own_args: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def as_authored(self) -> LaunchPlan:
        """The plan without ``own_args``."""
        return dataclasses.replace(self, args=tuple(a for a in self.args if a not in self.own_args), own_args=())

    def uses(self, placeholder: str) -> bool:
        """Whether an argument or a file asks for ``placeholder``."""
        texts = (*self.args, *self.files.values(), *self.model_files.values())
        return any(f"${{{placeholder}}}" in text for text in texts)

    def arguments(self, **values: str | int) -> list[str]:
        """The arguments with the placeholders filled in; a KeyError names one that was not given."""
        return [self._filled(argument, values) for argument in self.args]

    def file_texts(self, **values: str | int) -> dict[str, str]:
        """The texts of ``files`` with the placeholders filled in; a KeyError names one that was not given."""
        return {name: self._filled(text, values) for name, text in self.files.items()}

    def model_file_texts(self, **values: str | int) -> dict[str, str]:
        """Likewise of ``model_files``."""
        return {name: self._filled(text, values) for name, text in self.model_files.items()}

    def _filled(self, text: str, values: Mapping[str, str | int]) -> str:
        base = str(values.get("model_base_path", self.model.model_base_path))
        of_model = {"model_root": posixpath.dirname(base), "model_path": f"{base}/{self.model.inside}".rstrip("/")}
        return string.Template(text).substitute({**of_model, **values})


def literal(argument: str) -> str:
    """A user's argument as it must stand in ``LaunchPlan.args``: no placeholder of ours is looked for in it."""
    return argument.replace("$", "$$")


def says_port_taken(pattern: str, exit_code: int, log: str) -> bool:
    """Whether a server that ended by itself says that it did so because its port was in use.

    Only the last lines of its log can: an earlier line was about something that it survived. A signal and a success have other causes.

    Args:
      pattern: a LaunchPlan's ``port_taken``; empty matches nothing.
      exit_code: the server's; negative for a signal.
      log: its last lines.
    """
    last = [line for line in log.splitlines() if line.strip()][-_LAST_WORDS:]
    return exit_code > 0 and bool(pattern) and re.search(pattern, "\n".join(last)) is not None


class LaunchPlanner(Protocol):
    """What a runner needs of a serving binary (see serving_binaries/base_binary.py)."""

    def MakeLaunchPlan(self, model_path: str, platform: str) -> LaunchPlan:
        """The server to start for the SavedModel at ``model_path`` on ``platform`` (e.g. ``local_docker``)."""
        ...
