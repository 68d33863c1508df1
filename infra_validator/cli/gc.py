"""``infra-validator gc``: remove what killed validations left behind; only what bears our label, and only what is expired."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from infra_validator import wiring
from infra_validator.core.errors import InfrastructureError
from infra_validator.specs import KubernetesConfig


def main(argv: Sequence[str]) -> int:
    """Run the command: 0 when nothing is left, 3 when something could not be removed or looked at."""
    parser = argparse.ArgumentParser(
        prog="infra-validator gc",
        description="Remove what killed validations left behind: processes and temporary directories of this machine and, where "
        "asked, containers and pods. Only what bears the label of this tool and is expired.",
        allow_abbrev=False,
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--docker", action="store_true", help="look at the Docker daemon, too (DOCKER_HOST)")
    parser.add_argument("--kubernetes", action="store_true", help="look at the Kubernetes cluster, too (KUBECONFIG)")
    parser.add_argument(
        "--namespace", default="", help="the namespace of the pods; else the context's or the service account's"
    )
    parser.add_argument("--all-namespaces", action="store_true", help="look for pods in every namespace")
    arguments = parser.parse_args(argv)
    platforms = ["local_process"]
    platforms += ["local_docker"] if arguments.docker else []
    platforms += ["kubernetes"] if arguments.kubernetes else []
    problems = 0
    found = 0
    for platform in platforms:
        try:
            leftovers = wiring.garbage_collector(platform)(remove=not arguments.dry_run, **_more(platform, arguments))
        except InfrastructureError as error:
            print(f"{platform}: {error}")
            problems += 1
            continue
        for leftover in leftovers:
            found += 1
            problems += bool(leftover.problem)
            done = f"could not be removed ({leftover.problem})" if leftover.problem else "removed"
            print(f"{platform}: {leftover.path}: {'would be removed' if arguments.dry_run else done}: {leftover.why}")
    if not found and not problems:
        print("nothing was left behind")
    return 3 if problems else 0


def _more(platform: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What only pods have: a namespace."""
    if platform != "kubernetes":
        return {}
    return {"config": KubernetesConfig(namespace=arguments.namespace), "all_namespaces": arguments.all_namespaces}
