"""WHERE a model server runs: the base class of all runners, and a folder for each platform."""

from typing import TYPE_CHECKING

from infra_validator._lazy_names import lazy_names

if TYPE_CHECKING:
    from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
    from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner
    from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner
    from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "BaseModelServerRunner": "base_runner",
            "KubernetesRunner": "kubernetes.runner",
            "LocalDockerRunner": "local_docker.runner",
            "LocalProcessRunner": "local_process.runner",
        },
    )

__all__ = ["BaseModelServerRunner", "KubernetesRunner", "LocalDockerRunner", "LocalProcessRunner"]
