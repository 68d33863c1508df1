"""Which display a run of a command has."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from typing import TextIO

from infra_validator.cli.progress.display import Display, Lines
from infra_validator.telemetry.json_log import LOG_FORMAT


def display_for(
    environment: Mapping[str, str], *, quiet: bool, stream: TextIO | None = None, log_format: str = "", run_id: str = ""
) -> Display:
    """The display for this run.

    Args:
      environment: the process's: ``GITHUB_ACTIONS``, ``GITLAB_CI``, ``NO_COLOR``, ``TERM`` are looked at.
      quiet: whether nothing is to be shown.
      stream: where to; standard error if None.
      log_format: ``text`` or ``json``; empty: as the environment's ``INFRA_VALIDATOR_LOG_FORMAT`` says.
      run_id: the validation's.
    """
    stream = stream or sys.stderr
    if quiet:
        return Display()
    if (log_format or environment.get(LOG_FORMAT)) == "json":
        from infra_validator.cli.progress.json_lines import JsonLines

        return JsonLines(stream, run_id)
    if environment.get("GITHUB_ACTIONS") == "true":
        from infra_validator.cli.progress.log_groups import GitHubGroups

        return GitHubGroups(stream)
    if environment.get("GITLAB_CI") == "true":
        from infra_validator.cli.progress.log_groups import GitLabSections

        return GitLabSections(stream)
    if _can_draw(environment, stream):
        from infra_validator.cli.progress.live import LiveDisplay

        return LiveDisplay(stream)
    return Lines(stream)


def _can_draw(environment: Mapping[str, str], stream: TextIO) -> bool:
    """Whether there is a terminal that can be drawn on, somebody who wants it, and what it takes."""
    can = _is_terminal(stream) and environment.get("TERM", "") not in ("", "dumb", "unknown")
    return can and not environment.get("NO_COLOR") and importlib.util.find_spec("rich") is not None


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False
