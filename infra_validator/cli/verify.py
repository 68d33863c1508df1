"""``infra-validator verify``: is this still the model that was blessed?"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.saved_model.digest import model_digest
from infra_validator.saved_model.find import find_saved_model


def main(argv: Sequence[str]) -> int:
    """Run the command: 0 the blessed model; 1 another one, or none that was blessed; 2 wrong usage; 3 it cannot be read."""
    parser = argparse.ArgumentParser(
        prog="infra-validator verify",
        description="Say whether a model directory holds the model that a verdict blessed, byte for byte.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="the SavedModel directory")
    parser.add_argument(
        "--verdict", required=True, metavar="FILE", help="a verdict.json, or the directory (a blessing) that holds one"
    )
    arguments = parser.parse_args(argv)
    try:
        verdict, blessed = _read(arguments.verdict)
        found = model_digest(find_saved_model(arguments.model).path)
    except UsageError as error:
        print(error)
        return 2
    except (InfrastructureError, AttemptFailed) as error:
        print(error)
        return 3
    if verdict != "BLESSED":
        print(f"not blessed: the verdict is {verdict}")
        return 1
    if found != blessed:
        print(f"not the blessed model: it is {found}, blessed was {blessed}")
        return 1
    print(f"blessed: {found}")
    return 0


def _read(path: str) -> tuple[str, str]:
    """(verdict, digest of the blessed model) of a verdict file."""
    file = os.path.join(path, "verdict.json") if os.path.isdir(path) else path
    try:
        with open(file, encoding="utf-8") as opened:
            report = json.load(opened)
        verdict, digest = str(report["verdict"]), str(report["model_digest"])
    except OSError as error:
        raise UsageError(f"--verdict {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--verdict {path}: it is no verdict of infra-validator.") from error
    if verdict == "BLESSED" and not digest:
        raise UsageError(f"--verdict {path}: it names no content; the model was not a local directory.")
    return verdict, digest
