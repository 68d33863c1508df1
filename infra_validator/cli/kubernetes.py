"""``infra-validator kubernetes rbac``: the Role that a serving spec needs, to be granted with ``kubectl apply -f -``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from infra_validator.core.errors import UsageError
from infra_validator.model_server_runners.kubernetes.rights import role_yaml
from infra_validator.specs import KubernetesConfig, ServingSpec


def main(argv: Sequence[str]) -> int:
    """Run the command: 0 when printed, 2 for a bad spec."""
    arguments = _parser().parse_args(argv)
    try:
        config = _config(arguments.serving_spec)
    except UsageError as error:
        print(f"infra-validator kubernetes: {error}", file=sys.stderr)
        return 2
    print(role_yaml(config, arguments.namespace, arguments.service_account), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="infra-validator kubernetes", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    rbac = commands.add_parser(
        "rbac",
        help="print the Role that a serving spec needs",
        description="Print the Role that a serving spec needs in its namespace, as YAML: the least rights, each used.",
        allow_abbrev=False,
    )
    rbac.add_argument(
        "--serving-spec", metavar="SPEC", help="JSON or YAML text, or a file; without it: every way allowed"
    )
    rbac.add_argument("--namespace", default="", help="the namespace; without it: the spec's, else default")
    rbac.add_argument("--service-account", default="", metavar="NAME", help="also print the binding to this account")
    return parser


def _config(serving_spec: str | None) -> KubernetesConfig:
    if serving_spec is None:
        return KubernetesConfig()
    spec = ServingSpec.of(serving_spec)
    if spec.kubernetes is None:
        raise UsageError(f"The serving spec's platform is {spec.platform}, not kubernetes.")
    return spec.kubernetes
