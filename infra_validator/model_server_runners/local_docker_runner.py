"""Where users of TFX import ``LocalDockerRunner`` from; the runner itself is in ``local_docker/runner.py``."""

from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner

__all__ = ["LocalDockerRunner"]
