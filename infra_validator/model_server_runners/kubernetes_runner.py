"""Where users of TFX import ``KubernetesRunner`` from; the runner itself is in ``kubernetes/runner.py``."""

from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner

__all__ = ["KubernetesRunner"]
