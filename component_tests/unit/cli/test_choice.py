"""Which display a run has."""

from __future__ import annotations

import io

import pytest

from infra_validator.cli.progress.choice import display_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("environment", "terminal", "quiet", "expected"),
    [
        (XTERM, True, False, "LiveDisplay"),
        (XTERM, False, False, "Lines"),
        (XTERM, True, True, "Display"),
        ({**XTERM, "NO_COLOR": "1"}, True, False, "Lines"),
        ({**XTERM, "NO_COLOR": ""}, True, False, "LiveDisplay"),
        ({"TERM": "dumb"}, True, False, "Lines"),
        ({}, True, False, "Lines"),
        ({"GITHUB_ACTIONS": "true"}, False, False, "GitHubGroups"),
        ({**XTERM, "GITHUB_ACTIONS": "true"}, True, False, "GitHubGroups"),
        ({"GITLAB_CI": "true"}, False, False, "GitLabSections"),
        ({"GITLAB_CI": "true"}, False, True, "Display"),
        ({"CI": "true"}, False, False, "Lines"),
    ],
)
def test_the_choice(environment: dict[str, str], terminal: bool, quiet: bool, expected: str) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert type(display_for(environment, quiet=quiet, stream=stream)).__name__ == expected


def test_a_closed_stream_is_no_terminal_and_no_error() -> None:
    stream = Terminal()
    stream.close()
    display = display_for({}, quiet=False, stream=stream)
    with display:
        display.say("a line that nobody reads")
