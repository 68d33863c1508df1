"""LocalDockerRunner: a model server in a container of a Docker daemon."""

from __future__ import annotations

from infra_validator.deadline import Deadline
from infra_validator.model_server_runners.docker_daemon import DockerDaemon
from infra_validator.model_server_runners.docker_images import resolve
from infra_validator.specs import LocalDockerConfig


def resolve_digest(image: str, config: LocalDockerConfig, deadline: Deadline) -> str:
    """The digest (``sha256:...``) behind ``name:tag`` now. Nothing is pulled.

    It is the registry's digest, or the id of the local image where that came from no registry; ``name@digest`` of either may
    stand in ``digests`` of a serving spec.

    Raises:
      InfrastructureError: no daemon, no registry, no such image.
    """
    daemon = DockerDaemon(config, deadline)
    try:
        return resolve(image, config.pull_policy, daemon, deadline).digest
    finally:
        daemon.close()
