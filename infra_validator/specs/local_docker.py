"""The part of a serving spec that says how to run a model server in a container of a Docker daemon."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Mapping

from infra_validator.core.errors import SpecError
from infra_validator.specs.local_process import environment, size
from infra_validator.specs.reader import above_zero, not_negative, one_of, spec_field

#: Where the images of TensorFlow Serving keep their models.
MODELS_DIRECTORY = "/models"


def _daemon_url(url: str) -> str | None:
    if url and not re.match(r"(unix|npipe|tcp|http|https|ssh)://\S+$", url):
        return f"must be an address such as unix:///var/run/docker.sock or tcp://host:2376, not {url!r}"
    return None


def _api_version(version: str) -> str | None:
    if version and version != "auto" and not re.fullmatch(r"1\.\d{1,3}", version):
        return f"must be an API version such as 1.41, not {version!r}"
    return None


def _host(address: str) -> str | None:
    if address and not re.fullmatch(r"[A-Za-z0-9._:-]+", address):
        return f"must be an address or a host name, not {address!r}"
    return None


def _ip_address(address: str) -> str | None:
    import ipaddress  # few specs name one

    try:
        ipaddress.ip_address(address or "127.0.0.1")
    except ValueError:
        return f"must be an IP address, not {address!r}"
    return None


def _user(user: str) -> str | None:
    if user and not re.fullmatch(r"[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)?", user):
        return f"must be user or user:group, not {user!r}"
    return None


def _gpus(gpus: str) -> str | None:
    if gpus and not re.fullmatch(r"all|[1-9]\d*|device=[\w:.-]+(,[\w:.-]+)*", gpus):
        return f"must be all, a number such as 2, or device=0,1; not {gpus!r}"
    return None


def _network_mode(mode: str) -> str | None:
    if mode == "none":
        return "must not be none: nobody could talk to the server"
    if not re.fullmatch(r"([A-Za-z0-9][\w.:-]*)?", mode):
        return f"must be bridge, host or the name of a network, not {mode!r}"
    return None


def hides(target: str, directory: str) -> bool:
    """Whether something mounted at ``target`` would hide ``directory`` or something in it."""
    target = posixpath.normpath(target)
    directory = posixpath.normpath(directory)
    return target == "/" or posixpath.commonpath([target, directory]) in (target, directory)


@dataclasses.dataclass(frozen=True)
class Mount:
    """One more mount of the container, next to the model's."""

    source: str = spec_field("", "A directory of the daemon's machine, or a volume's name.", file="path")
    target: str = spec_field("", "Where the container sees it.")
    type: str = spec_field("bind", "bind, volume or tmpfs.", check=one_of("bind", "volume", "tmpfs"))
    read_only: bool = spec_field(True, "Whether the container may only read it.")

    def check(self, path: str) -> None:
        """Called by the reader; raises SpecError if what is said in one field does not go with another."""
        if not self.target.startswith("/"):
            raise SpecError(f"{path}.target", f"must be an absolute path, not {self.target!r}")
        if hides(self.target, MODELS_DIRECTORY):
            raise SpecError(f"{path}.target", f"{self.target!r} would hide the model in {MODELS_DIRECTORY}")
        if self.type == "bind" and not self.source.startswith("/"):
            raise SpecError(f"{path}.source", f"must be an absolute path, not {self.source!r}")
        if self.type == "volume" and not re.fullmatch(r"[A-Za-z0-9][\w.-]+", self.source):
            raise SpecError(f"{path}.source", f"must be a volume's name, not {self.source!r}")
        if self.type == "tmpfs" and self.source:
            raise SpecError(f"{path}.source", "must be empty for a tmpfs")


@dataclasses.dataclass(frozen=True)
class LocalDockerConfig:
    """A container of a Docker daemon. The first four fields are TFX's."""

    client_base_url: str = spec_field(
        "",
        "The daemon's URL (unix, tcp, https, ssh); empty: DOCKER_HOST, else the Docker context, else the local socket.",
        check=_daemon_url,
    )
    client_api_version: str = spec_field(
        "", "The API version to speak; empty: what the daemon offers.", check=_api_version
    )
    client_timeout_seconds: int = spec_field(
        60, "Time limit of one call to the daemon.", unit="seconds", check=above_zero, unset_at_zero=True
    )
    host_ip_address: str = spec_field(
        "",
        "Where published ports are reached, and published unless publish_address says otherwise; empty: 127.0.0.1 for a "
        "local daemon, a remote daemon's own address, or what docs/docker.md says for a validator inside a container.",
        check=_host,
    )
    publish_address: str = spec_field(
        "",
        "The one address that ports are published on, where it is not the one they are reached at; 0.0.0.0 only if it "
        "is named here.",
        check=_ip_address,
    )
    network_mode: str = spec_field(
        "", "The container's network: bridge, host or a network's name.", check=_network_mode
    )
    pull_policy: str = spec_field(
        "auto",
        "auto: the registry is asked what a tag means, and where it cannot be asked a local image will do; an image that "
        "came from no registry is used as it is. always: the registry must answer. missing: a local image is used as it is. "
        "never: nothing is pulled.",
        check=one_of("auto", "always", "missing", "never"),
    )
    pull_timeout_seconds: float = spec_field(
        1800.0, "Limit of one pull; apart from max_loading_time_seconds.", unit="seconds", check=above_zero
    )
    model_delivery: str = spec_field(
        "auto",
        "mount: bind mount, no copy. upload: copied into a volume. auto: mount where the daemon sees the model's files, "
        "else upload.",
        check=one_of("auto", "mount", "upload"),
    )
    upload_timeout_seconds: float = spec_field(
        1800.0, "Limit of one upload of the model.", unit="seconds", check=above_zero
    )
    memory_limit: str = spec_field(
        "", "The most memory the server may use, swap included, e.g. 2g; empty: no limit.", check=size
    )
    cpus: float = spec_field(0.0, "How many processors it may use, e.g. 1.5; 0: no limit.", check=not_negative)
    pids_limit: int = spec_field(4096, "How many threads and processes it may have.", check=above_zero)
    gpus: str = spec_field("", "GPUs, as docker run --gpus has them: all, 2, or device=0,1.", check=_gpus)
    user: str = spec_field(
        "",
        "The container's user, user:group; empty: the image's, or the model's owner where only the owner can read it.",
        check=_user,
    )
    hardening: str = spec_field(
        "auto",
        "Whether the container runs under restrictions of ours (docs/docker.md). strict: always. image: never. auto: a server that "
        "ends under them before it served is tried as its image's author made it, and the report says so.",
        check=one_of("auto", "strict", "image"),
    )
    read_only_root: bool = spec_field(True, "Whether the container's root file system is read-only (/tmp is not).")
    env: Mapping[str, str] = spec_field({}, "Environment variables added to the image's.", check=environment)
    mounts: tuple[Mount, ...] = spec_field((), "More mounts, for example of a file that extra_args name.")
    extra_args: tuple[str, ...] = spec_field((), "Arguments appended to the server's.")
    lifetime_seconds: float = spec_field(
        10800.0,
        "The age at which containers and volumes may be removed as left-overs (infra-validator gc); "
        "longer than validation_spec.total_time_seconds.",
        unit="seconds",
        check=above_zero,
    )
    log_tail_lines: int = spec_field(
        50, "How many of the server's last lines are kept.", unit="lines", check=not_negative
    )

    @property
    def restrictions(self) -> tuple[str, ...]:
        """What the container is held to beyond what its image says, for people."""
        if self.hardening == "image":
            return ()
        return (
            "no capabilities",
            "no new privileges",
            *(("a read-only root file system",) if self.read_only_root else ()),
        )
