"""The part of a serving spec that says how to run a model server as a local process."""

from __future__ import annotations

import dataclasses
import enum
import os
import re
from collections.abc import Mapping, Sequence

from infra_validator.specs.reader import not_negative, port, spec_field


class Sandbox(enum.Enum):
    """Whether a server runs in a sandbox."""

    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


#: The restriction of a server in a sandbox.
SANDBOX = "a sandbox (bubblewrap): no files but its own, no other processes, a small /tmp"

_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse_size(text: str) -> int | None:
    """Bytes of ``512m``, ``2g``, ``2GiB``, ``1048576``; None if it is no size."""
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    return int(float(match[1]) * _UNITS[match[2]]) if match else None


def size(text: str) -> str | None:
    """Check of a size field."""
    if text and not parse_size(text):
        return f"must be a size above 0 such as 512m or 2g, not {text!r}"
    return None


def environment(env: Mapping[str, str]) -> str | None:
    """Check of environment variables."""
    if any("\0" in value for value in env.values()):
        return "a value holds a NUL byte"
    return environment_names(tuple(env))


def environment_names(names: Sequence[str]) -> str | None:
    """Check of names of environment variables."""
    for name in names:
        if not name or "=" in name or "\0" in name:
            return f"{name!r} is no name of an environment variable"
    return None


def _libraries(paths: Sequence[str]) -> str | None:
    """Check of paths that are handed over in one flag."""
    for path in paths:
        if not path or "," in path or "\0" in path:
            return f"holds {path!r}: a path must not be empty, and must have no comma"
        if not os.path.isfile(path):
            return f"holds {path!r}, which is no file"
    return None


@dataclasses.dataclass(frozen=True)
class LocalProcessConfig:
    """A model server as a process of this machine. Ours; TFX has no such platform."""

    binary_path: str = spec_field(
        "",
        "The server to run; empty: tensorflow_model_server on the PATH, else the embedded model server.",
        file="program",
    )
    extra_args: tuple[str, ...] = spec_field((), "Arguments appended to the server's command line.")
    op_libraries: tuple[str, ...] = spec_field(
        (),
        "Shared libraries with operations of your own, for the embedded server; a real server has its own linked in.",
        check=_libraries,
        file="path",
    )
    env: Mapping[str, str] = spec_field({}, "Environment variables added to the server's.", check=environment)
    env_from: tuple[str, ...] = spec_field(
        (),
        "Names of the validator's own environment variables that the server gets too; without it, only harmless ones.",
        check=environment_names,
    )
    grpc_port: int = spec_field(0, "The gRPC port; 0: a free one.", check=port)
    memory_limit: str = spec_field("", "The most memory the server may use, e.g. 2g; empty: no limit.", check=size)
    sandbox: Sandbox = spec_field(
        Sandbox.OFF,
        "Whether the server runs in a sandbox of bubblewrap's (docs/local_process.md). required: always. off: never. auto: where that can "
        "be had; a server that fails in it before it served is tried without it, and the report says so.",
    )
    log_tail_lines: int = spec_field(
        50, "How many of the server's last lines are kept.", unit="lines", check=not_negative
    )

    @property
    def hardening(self) -> str:
        """Whether the server's restrictions are given up where it does not bear them."""
        return "auto" if self.sandbox is Sandbox.AUTO else "strict"

    @property
    def restrictions(self) -> tuple[str, ...]:
        """What the server is held to, for people, where the machine allows it."""
        return () if self.sandbox is Sandbox.OFF else (SANDBOX,)
