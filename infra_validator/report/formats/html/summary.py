"""The top of the page: the verdict, why, what it rests on, and what to do next."""

from __future__ import annotations

from infra_validator.report.formats.fields import Fields
from infra_validator.report.formats.html.markup import Content, Markup, element, join, mark, section, table
from infra_validator.report.formats.quantities import count, seconds

_LEVELS = (
    ("LOADED", "Loaded", "a server loaded it"),
    ("ANSWERED", "Answered", "every request was answered"),
)
_SOURCES = {
    "file": "from a file",
    "examples": "from the examples artifact",
    "offered": "from an installed package",
    "generated": "made up from the signature",
    "none": "none were sent",
}
_CHECKS = {"failed": ("bad", "failed"), "passed": ("good", "passed"), "not_applicable": ("none", "not applicable")}
_IN_ORDER = ("failed", "passed", "not_applicable")

OUTCOMES = {
    "BLESSED": ("good", "Blessed"),
    "NOT_BLESSED": ("bad", "Not blessed"),
    "INCONCLUSIVE": ("unsure", "Inconclusive"),
}


def outcome_of(verdict: Fields) -> tuple[str, str]:
    """(good, bad, unsure or none; the word for it) of a verdict."""
    return OUTCOMES.get(verdict.text("verdict"), ("none", verdict.text("verdict", 40) or "No verdict"))


def head(verdict: Fields) -> Markup:
    """The verdict, the reason and the next step."""
    outcome, word = outcome_of(verdict)
    what = verdict.text("model_name") or verdict.text("model") or "a model"
    reason = verdict.text("reason")
    code = verdict.text("reason_code")
    told = element("p", reason, class_="reason") if reason else None
    if outcome == "unsure":
        told = join(told, element("p", "The test could not be carried out. No model is blamed.", class_="quiet"))
    return element(
        "header",
        element("p", "Infrastructure validation of ", element("code", what), class_="kicker"),
        element("h1", mark(outcome, word), class_="verdict"),
        told,
        element("p", element("code", code), class_="code") if code and code != "BLESSED" else None,
        _next_step(verdict, outcome),
        _facts(verdict),
        class_=f"head {outcome}",
    )


def warnings(verdict: Fields) -> Markup | None:
    """What people should know besides."""
    sentences = verdict.texts("warnings")
    if not sentences:
        return None
    return section("warnings", "Warnings", element("ul", [element("li", one) for one in sentences], class_="warnings"))


def evidence(verdict: Fields) -> Markup | None:
    """What the verdict rests on."""
    found = verdict.fields("evidence")
    if not found:
        return None
    tiles = [
        _tile("Requests answered", count(found.number("requests"))),
        _tile("Where they came from", _SOURCES.get(found.text("source"), found.text("source"))),
        _tile("Served bytes are the digest’s", "yes" if found.flag("digest_verified") else "not known"),
    ]
    return section(
        "evidence",
        "What it rests on",
        _ladder(found.text("level")),
        element("dl", tiles, class_="tiles"),
        _signatures(found),
        checks(found),
    )


def checks(found: Fields) -> Markup | None:
    """What was looked at, what failed first; the details name the worst offenders."""
    rows = sorted(found.rows("checks"), key=lambda check: _place(check.text("outcome")))
    if not rows:
        return None
    cells: list[list[Content]] = []
    for check in rows:
        outcome, word = _CHECKS.get(check.text("outcome"), ("none", check.text("outcome", 40)))
        cells.append([words(check.text("name")), mark(outcome, word), check.text("detail")])
    return element("div", element("h3", "Checks"), table("Checks", ("Check", "Outcome", "Detail"), cells))


def words(name: str) -> str:
    """A name of the code as words."""
    return name.replace("_", " ")


def _place(outcome: str) -> int:
    return _IN_ORDER.index(outcome) if outcome in _IN_ORDER else len(_IN_ORDER)


def _next_step(verdict: Fields, outcome: str) -> Markup | None:
    step = verdict.text("next_step")
    if not step or outcome == "good":
        return None
    return element("p", element("strong", "Next step"), " ", step, class_="next")


def _facts(verdict: Fields) -> Markup:
    facts: list[Content] = []
    started = verdict.text("started_at", 40)
    if started:
        shown = started[:16].replace("T", " ") + (" UTC" if started.endswith("+00:00") else "")
        facts.append(element("time", shown, datetime=started))
    taken = verdict.number("seconds")
    if taken:
        facts.append(f"took {seconds(taken)}")
    labels = [binary.text("label", 120).partition("@")[0] for binary in verdict.rows("serving_binaries")]
    if labels:
        facts.append(", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else ""))
    if verdict.flag("flaky"):
        facts.append(element("strong", "flaky"))
    return element("ul", [element("li", fact) for fact in facts], class_="facts")


def _ladder(level: str) -> Markup:
    """How far the model got, as steps."""
    names = [name for name, _, _ in _LEVELS]
    reached = names.index(level) + 1 if level in names else 0
    steps = []
    for number, (_, word, meaning) in enumerate(_LEVELS):
        there = number < reached
        shown = mark("good" if there else "none", word)
        steps.append(element("li", shown, element("span", meaning if there else f"not: {meaning}", class_="quiet")))
    return element("ol", steps, class_="ladder")


def _tile(name: str, value: Content) -> Markup:
    return element("div", element("dt", name), element("dd", value))


def _signatures(found: Fields) -> Markup | None:
    asked, others = found.texts("signatures_asked"), found.texts("signatures_not_asked")
    if not asked and not others:
        return None
    lines = []
    for title, names in (("Signatures asked", asked), ("Not asked", others)):
        if names:
            lines.append(
                element(
                    "p",
                    element("span", title, class_="label"),
                    [element("code", name) for name in names],
                    class_="chips",
                )
            )
    return join(lines)
