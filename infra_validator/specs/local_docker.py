"""The part of a serving spec that says how to run a model server in a container of a Docker daemon."""

from __future__ import annotations

import dataclasses

from infra_validator.specs.reader import above_zero, spec_field


@dataclasses.dataclass(frozen=True)
class LocalDockerConfig:
    """A container of a Docker daemon. The first four fields are TFX's."""

    client_base_url: str = spec_field("", "The daemon's URL; empty: DOCKER_HOST, else the local socket.")
    client_api_version: str = spec_field("", "The API version to speak; empty: what the daemon offers.")
    client_timeout_seconds: int = spec_field(
        60, "Time limit of one call to the daemon.", unit="seconds", check=above_zero
    )
    host_ip_address: str = spec_field(
        "", "Where published ports are reached and bound; empty: 127.0.0.1 for a local daemon."
    )
