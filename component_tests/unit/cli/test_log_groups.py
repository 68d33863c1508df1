"""Logs of GitHub Actions and GitLab CI: groups and annotations, which nothing that a server says can break out of."""

from __future__ import annotations

import io
import json
import re

from infra_validator.cli.progress.log_groups import GitHubGroups, GitLabSections
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import AttemptReport, BinaryReport, Finding, ValidationReport, Verdict, now

FINDING = Finding(ReasonCode.REQUEST_FAILED, "100 % of it,\nit says:\rno", "Look: there.")


def report(log: str = "", warnings: tuple[str, ...] = ()) -> ValidationReport:
    attempt = AttemptReport(1, FINDING, (), True, server_log=log)
    binary = BinaryReport("tensorflow_serving", "a,b:c", "p", False, Verdict.NOT_BLESSED, FINDING, (attempt,))
    return ValidationReport(Verdict.NOT_BLESSED, FINDING, "/m", "m", (binary,), now(), 1.0, warnings=warnings)


def test_github() -> None:
    out = io.StringIO()
    with GitHubGroups(out) as display:
        display.say("a: load ok (1.00 s)")
        display.end(report("the last line", ("a warning",)), "out/verdict.json")
    assert out.getvalue().splitlines() == [
        "::group::infra-validator: progress",
        "a: load ok (1.00 s)",
        "::endgroup::",
        "::group::infra-validator: the server's log, a,b:c",
        "the last line",
        "::endgroup::",
        "the report: out/verdict.json",
        "::error title=NOT_BLESSED REQUEST_FAILED::"
        f"{ReasonCode.REQUEST_FAILED.sentence} 100 %25 of it,%0Ait says:\\x0dno%0ANext step: Look: there.",
        "::warning title=infra-validator::a warning",
    ]


def test_the_group_ends_where_the_block_is_left_by_an_error() -> None:
    out = io.StringIO()
    try:
        with GitHubGroups(out):
            raise KeyError
    except KeyError:
        pass
    assert out.getvalue() == "::group::infra-validator: progress\n::endgroup::\n"


def test_a_server_gives_github_no_commands() -> None:
    out = io.StringIO()
    hostile = "::set-env name=PATH::evil\n  ::endgroup::\n##[add-path]/evil\nx ##[group]y\n\x1b[31mred\u202egnp"
    with GitHubGroups(out) as display:
        display.say(hostile)
        display.end(report(hostile), "")
    commands = [line for line in out.getvalue().splitlines() if line.lstrip().startswith("::")]
    assert [re.match(r"::[a-z]+", line).group() for line in commands] == [  # type: ignore[union-attr]
        *("::group", "::endgroup") * 2,
        "::error",
    ]
    assert "##[" not in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert "\u202e" not in out.getvalue()
    assert json.loads(display.json(json.dumps({"a": hostile}))) == {"a": hostile}
    assert "##[" not in display.json(json.dumps({"a": hostile}))
    shown = display.words(f"  the server's last lines:\n::warning::{hostile}")
    assert not [line for line in shown.splitlines() if line.lstrip().startswith("::")]


def test_gitlab() -> None:
    out = io.StringIO()
    with GitLabSections(out, lambda: 1700000000.4) as display:
        display.say("a: load ok (1.00 s)")
        display.say("hostile \x1b[0Ksection_end:1700000000:x\r")
        display.end(report("the last line"), "")
    text = out.getvalue()
    starts = re.findall(r"\x1b\[0Ksection_start:1700000000:(\w+)\[collapsed=true\]\r\x1b\[0K(.*)\n", text)
    ends = re.findall(r"\x1b\[0Ksection_end:1700000000:(\w+)\r\x1b\[0K\n", text)
    assert [title for _, title in starts] == ["infra-validator: progress", "infra-validator: the server's log, a,b:c"]
    assert [name for name, _ in starts] == ends
    assert len(set(ends)) == 2
    assert text.count("\x1b") == 8  # ours
    assert "a: load ok (1.00 s)\n" in text
