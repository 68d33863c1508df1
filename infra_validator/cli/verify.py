"""``infra-validator verify``: is this still the model that was blessed?"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Sequence

from infra_validator.core.errors import AttemptFailed, InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
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
    parser.add_argument(
        "--require",
        choices=("loaded", "answered"),
        default="loaded",
        help="what the blessing must rest on: that a server loaded the model, or that it answered requests too (default: loaded)",
    )
    arguments = parser.parse_args(argv)
    try:
        blessing = _read(arguments.verdict)
        found = model_digest(_directory(arguments.model))
    except UsageError as error:
        print(error)
        return 2
    except (InfrastructureError, AttemptFailed) as error:
        print(error)
        return 3
    problem = _problem(blessing, found, arguments.require)
    print(problem or f"blessed: {found}{' (with its warm-up file)' if found == blessing.warmed_digest else ''}")
    return 1 if problem else 0


def _directory(model: str) -> str:
    """The SavedModel directory that ``model`` means; of a model of another kind, the directory itself."""
    try:
        return find_saved_model(model).path
    except AttemptFailed as error:
        if error.reason is ReasonCode.MODEL_NOT_A_SAVED_MODEL and os.path.isdir(model):
            return model
        raise


@dataclasses.dataclass(frozen=True)
class _Blessing:
    """What a verdict file says.

    Attributes:
      verdict: ``BLESSED`` or another verdict.
      digest: of the model; warmed_digest: of the model with the warm-up file that was made for it, empty where none was.
      level: what it rests on; empty in files of schema version 1, which do not tell.
      verified: whether what was served is known to be what the digest names.
    """

    verdict: str
    digest: str
    warmed_digest: str
    level: str
    verified: bool


def _problem(blessing: _Blessing, found: str, required: str) -> str:
    """Why the model with the digest ``found`` is not blessed as ``required``; empty if it is."""
    if blessing.verdict != "BLESSED":
        return f"not blessed: the verdict is {blessing.verdict}"
    if found not in (blessing.digest, blessing.warmed_digest):
        return f"not the blessed model: it is {found}, blessed was {blessing.digest}"
    if not blessing.verified:
        return "not known to be the blessed model: the server had its files from elsewhere (digest_verified is false)"
    if required == "answered" and blessing.level != "ANSWERED":
        rests = (
            "the model was only loaded" if blessing.level == "LOADED" else "the verdict does not say what it rests on"
        )
        return f"not blessed as required: {rests}; validate it with requests (--requests, --generate)"
    return ""


def _read(path: str) -> _Blessing:
    file = os.path.join(path, "verdict.json") if os.path.isdir(path) else path
    try:
        with open(file, encoding="utf-8") as opened:
            report = json.load(opened)
        verdict, digest = str(report["verdict"]), str(report["model_digest"])
        evidence = report["evidence"] if int(report.get("schema_version", 1)) >= 2 else {}
        blessing = _Blessing(
            verdict,
            digest,
            str(report.get("warmed_model_digest", "")),
            str(evidence.get("level", "")),
            bool(evidence.get("digest_verified", True)),
        )
    except OSError as error:
        raise UsageError(f"--verdict {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"--verdict {path}: it is no verdict of infra-validator.") from error
    if verdict == "BLESSED" and not digest:
        raise UsageError(f"--verdict {path}: it names no content; the model was not a local directory.")
    return blessing
