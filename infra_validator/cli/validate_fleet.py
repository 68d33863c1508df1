"""``infra-validator validate --models``: the same for many models, one line for each."""

from __future__ import annotations

import argparse
import os

from infra_validator.cli.progress.choice import display_for
from infra_validator.cli.progress.printable import printable
from infra_validator.cli.step_summary import add_text_to_step_summary
from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.reason_codes import Blames
from infra_validator.core.signals.interruption import Interruption
from infra_validator.fleet.fleet import validate_fleet
from infra_validator.fleet.fleet_report import FleetReport
from infra_validator.fleet.formats import FLEET_FORMATS
from infra_validator.report.verdict import Verdict
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec

_EXIT_CODES = {Verdict.BLESSED: 0, Verdict.NOT_BLESSED: 1, Verdict.INCONCLUSIVE: 3}
_WRONG_USAGE = 2


def run(
    arguments: argparse.Namespace,
    specs: tuple[ServingSpec, ValidationSpec, RequestSpec],
    interruption: Interruption,
) -> tuple[int, FleetReport | None]:
    """Validate the fleet and print its report.

    Args:
      arguments: of ``validate``.
      specs: what holds for each model that says nothing else.
      interruption: ends it early.

    Returns:
      (the exit code, the report; None where there is none).
    """
    try:
        with display_for(os.environ, quiet=arguments.quiet, log_format=arguments.log_format) as display:
            report = validate_fleet(
                arguments.models,
                *specs,
                requests=arguments.requests,
                at_once=arguments.at_once,
                output=arguments.output,
                resume=arguments.resume,
                fail_fast=arguments.fail_fast,
                shard=arguments.shard,
                on_progress=display.say,
                tell=display.tell,
                interruption=interruption,
            )
    except (UsageError, InfrastructureError) as error:
        print(f"{error.reason.name}: {printable(error.detail)}")
        print(f"  next step: {printable(error.next_step or error.reason.next_step)}")
        return (_WRONG_USAGE if error.reason.blames is Blames.USAGE else _EXIT_CODES[Verdict.INCONCLUSIVE]), None
    interruption.close()
    print_fleet(report, arguments.format)
    add_text_to_step_summary(FLEET_FORMATS["markdown"].make(report.to_dict()))
    return _EXIT_CODES[report.verdict], report


def print_fleet(report: FleetReport, form: str) -> int:
    """Print a fleet's report on standard output: ``text``, ``json`` or one of the formats. Returns the exit code that it stands for."""
    if form == "json":
        print(report.to_json(), end="")
    elif form in FLEET_FORMATS:
        print(FLEET_FORMATS[form].make(report.to_dict()), end="")
    else:
        width = max((len(line.name) for line in report.models), default=0)
        for line in report.models:
            why = "" if line.verdict is Verdict.BLESSED else f" {line.reason_code}: {line.reason}"
            print(f"  {line.name:<{width}}  {printable(line.verdict.value + why)}")
        print(f"{report.verdict.value}: {report.sentence}")
    return _EXIT_CODES[report.verdict]
