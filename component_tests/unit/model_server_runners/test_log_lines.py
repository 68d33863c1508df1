"""What a report keeps of a log full of answers to our own questions."""

from __future__ import annotations

from infra_validator.model_server_runners.log_lines import last_lines

ASKED = 'INFO:     127.0.0.1:{} - "GET /v2/models/iris/ready HTTP/1.1" 400 Bad Request'
CAUSE = "RuntimeError: There is no current event loop in thread 'MainThread'."


def test_a_cause_is_not_driven_out_by_our_questions() -> None:
    log = "\n".join(["starts", CAUSE, *(ASKED.format(40000 + place) for place in range(500))])
    assert last_lines(log, 50).splitlines() == [
        "starts",
        CAUSE,
        ASKED.format(40000),
        "[498 lines like this one were left out]",
        ASKED.format(40499),
    ]


def test_a_short_log_is_left_as_it_is() -> None:
    log = "\n".join(ASKED.format(place) for place in range(50))
    assert last_lines(log + "\n", 50) == log


def test_what_the_server_says_by_itself_is_kept_line_by_line() -> None:
    lines = [f"epoch {place}" for place in range(500)]
    assert last_lines("\n".join(lines), 50) == "\n".join(lines[-50:])
    assert last_lines("\n".join(lines), 0) == ""


def test_lines_without_an_end_are_cut() -> None:
    kept = last_lines("\n".join(["x" * 1_000_000] * 5 + ["the last one"]), 50)
    assert len(kept) <= 1_000_000
    assert kept.endswith("x\nthe last one")
