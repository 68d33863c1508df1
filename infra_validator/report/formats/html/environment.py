"""What was run, on which machine; and what the servers printed."""

from __future__ import annotations

from infra_validator.report.formats.characters import printable
from infra_validator.report.formats.fields import Fields, last_attempt
from infra_validator.report.formats.html.markup import Content, Markup, element, section
from infra_validator.report.formats.quantities import count, figures, octets, seconds


def what_was_run(verdict: Fields) -> Markup:
    """Digests, versions and the machine: enough to do it again."""
    machine = verdict.fields("machine")
    rows: list[tuple[str, Content]] = [
        ("Model", _code(verdict.text("model"))),
        ("Model name", _code(verdict.text("model_name"))),
        ("Model digest", _code(verdict.text("model_digest"))),
        ("Warmed model", _code(verdict.text("warmed_model"))),
        ("Its digest", _code(verdict.text("warmed_model_digest"))),
        ("Baseline", _code(verdict.text("baseline"))),
        ("Its digest", _code(verdict.text("baseline_digest"))),
    ]
    for binary in verdict.rows("serving_binaries"):
        label, _, digest = binary.text("label").partition("@")
        advisory = " (advisory)" if binary.flag("advisory") else ""
        rows.append(("Serving binary", [_code(label), f" on {binary.text('platform') or 'no platform'}{advisory}"]))
        rows.append(("Image digest", _code(binary.text("image_digest") or digest)))
        rows.append(("Held to", "; ".join(last_attempt(binary).texts("restrictions"))))
    memory, cpus = machine.number("memory_bytes"), machine.number("cpus")
    rows += [
        ("Validated by", verdict.text("tool")),
        ("Machine", ", ".join(filter(None, (machine.text("system"), machine.text("architecture"))))),
        ("Processors", count(cpus) if cpus is not None else None),
        ("Memory", octets(memory) if memory is not None else None),
        ("Python", machine.text("python")),
        ("Started", verdict.text("started_at")),
        ("Took", seconds(verdict.number("seconds"))),
        ("Format of the verdict", f"version {figures(verdict.number('schema_version') or 1)}"),
    ]
    shown = [element("div", element("dt", name), element("dd", value)) for name, value in rows if value]
    return section("run", "What was run", element("dl", shown, class_="facts-list"))


def logs(verdict: Fields) -> Markup | None:
    """The servers' last lines, folded; a script adds a search."""
    found = []
    for binary in verdict.rows("serving_binaries"):
        attempts = binary.rows("attempts")
        # Files of version 1 and 2 hold the log beside the attempts, too.
        for attempt in attempts or [binary]:
            if attempt.tail("server_log_tail", 1)[0]:
                found.append((binary, attempt))
    if not found:
        return None
    each = verdict.room.log // len(found)
    shown = [_log(number, binary, attempt, each) for number, (binary, attempt) in enumerate(found)]
    return section("logs", "The servers’ last lines", shown)


def _log(number: int, binary: Fields, attempt: Fields, room: int) -> Markup:
    log, left_out = attempt.tail("server_log_tail", room)
    log = printable(log)
    label = binary.text("label", 200).partition("@")[0]
    which = attempt.number("number")
    title = f"{label}, attempt {which:.0f}" if which is not None else label
    lines = log.count("\n") + (not log.endswith("\n"))
    more = f"; {left_out:,} earlier characters are left out here" if left_out else ""
    return element(
        "details",
        element("summary", title, " ", element("span", f"{lines:,} lines{more}", class_="aside")),
        element(
            "p",
            element("label", "Search this log", for_=f"search-{number}"),
            element("input", type="search", id=f"search-{number}", autocomplete="off", spellcheck="false"),
            element("output", for_=f"search-{number}"),
            class_="search",
            hidden=True,
        ),
        element("pre", log, tabindex="0", role="group", aria_label=f"Log of {title}"),
        class_="log",
    )


def _code(value: str) -> Content:
    return element("code", value) if value else None
