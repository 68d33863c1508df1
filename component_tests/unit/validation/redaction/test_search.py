"""What was sent is taken out of texts in every form in which servers quote it, and nothing else is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_validator.validation.redaction.search import Search, TooManyFinds

SECRET = "S3cret, \"quoted\" 'and' back\\slashed\té-\U0001f511 end"


def c_escape(value: bytes) -> str:
    """As absl::CEscape."""
    plain = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x22: '\\"', 0x27: "\\'", 0x5C: "\\\\"}
    return "".join(plain.get(b) or (chr(b) if 0x20 <= b < 0x7F else f"\\{b:03o}") for b in value)


FORMS: dict[str, Callable[[bytes], str]] = {
    "as it is": lambda value: value.decode(errors="replace"),
    "C escapes": c_escape,
    "C escapes in JSON": lambda value: json.dumps(c_escape(value))[1:-1],
    "JSON": lambda value: json.dumps(value.decode(errors="replace"))[1:-1],
    "JSON in JSON": lambda value: json.dumps(json.dumps(value.decode(errors="replace")))[3:-3],
    "Python's bytes": lambda value: repr(value)[2:-1],
    "Python's text": lambda value: repr(value.decode(errors="replace"))[1:-1],
    "octal": lambda value: "".join(f"\\{octet:03o}" for octet in value),
    "hexadecimal escapes": lambda value: "".join(f"\\x{octet:02X}" for octet in value),
    "hexadecimal": lambda value: value.hex(),
    "percent": lambda value: "".join(f"%{octet:02x}" for octet in value),
    "base64": lambda value: base64.b64encode(value).decode(),
    "base64 without padding": lambda value: base64.b64encode(value).decode().rstrip("="),
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(value).decode(),
    "base64 from the second octet on": lambda value: base64.b64encode(b"a" + value + b"z").decode(),
    "base64 from the third octet on": lambda value: base64.urlsafe_b64encode(b"ab" + value + b"yz").decode(),
}


def cleaned(text: str, *values: bytes | str, names: tuple[str, ...] = ()) -> str:
    search = Search([text], names)
    for value in values:
        search.value("input x", value.encode() if isinstance(value, str) else value)
    return search.cleaned()[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "value", [SECRET, "four", "name7", "4711-0815", "Zoë", "mail@example.org", "\x80\x9f\xadé", "x" * 300]
)
def test_every_form_is_found(form: str, value: str) -> None:
    written = FORMS[form](value.encode())
    got = cleaned(f"node [{written}] failed", value)
    assert got.startswith("node [")
    assert got.endswith("] failed")
    assert "<value of input x>" in got
    assert written.strip("=") not in got
    # In base64 the neighbours' bits share the first and the last character.
    assert len(got) - len("node [<value of input x>] failed") <= (8 if "base64" in form else 0)


@settings(max_examples=300, deadline=None)
@given(
    value=st.binary(min_size=12, max_size=60).filter(lambda value: value.strip(b"\0")),
    form=st.sampled_from(sorted(FORMS)),
)
def test_any_octets_in_any_form_are_found(value: bytes, form: str) -> None:
    written = FORMS[form](value)
    got = cleaned(f"it was \x00{written}\x00", value)
    assert got.count("<value of input x>") == 1
    assert len(got) <= len("it was \x00<value of input x>\x00") + 8


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("could not convert: S3cretNam...", "S3cretName-of-somebody", "could not convert: <value of input x>..."),
        ("could not convert: S3cre... (80 more characters)", "S3cretName", None),
        ("could not convert: S3cre", "S3cretName", "could not convert: <value of input x>"),
        ("a line cut in its middle: S3cretNa\nnext line", "S3cretName", None),
        ("Unexpected token.\nme is S3cretName and mo}\n   ^", "my name is S3cretName and more and more", None),
        ("field 1 is no float: Smith7", "1,Smith7,3", "field 1 is no float: <value of input x>"),
        ("no such token: Smith7", "hello Smith7 of Berlin", "no such token: <value of input x>"),
        ("bad: Smith7", '{"name": "Smith7"}', "bad: <value of input x>"),
        ("bad: 李小龙.", "李小龙", "bad: <value of input x>."),
    ],
)
def test_parts_and_beginnings_are_found(text: str, value: str, expected: str | None) -> None:
    got = cleaned(text, value)
    assert "S3cre" not in got
    assert "Smith7" not in got
    if expected is not None:
        assert got == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("the tensorflow_serving of tomorrow", "flow"),  # inside of a word
        ("serving_default is refused", "serving"),
        ("record 1: no", "no"),  # shorter than four
        ("Could not parse the value of input text", "1,value,input,text,3"),  # a server's own words as parts of a text
        ('a JSON object has no member "name"', '{"name": "Smith"}'),  # the key of a JSON object
        ("2026-11-28 23:17:58.123456: W tensorflow/core/op_kernel.cc:1839] failed", "tensorflow"),
        ("I0000 00:00:1764372000.123456   12345 tensorflow_serving/core/loader.cc:68] failed", "12345"),
    ],
)
def test_what_is_no_quotation_is_left(text: str, value: str) -> None:
    assert cleaned(text, value) == text


@pytest.mark.parametrize("repeated", ["a", "ab", "abc", " ", "0123456789"])
def test_texts_that_repeat_themselves_end_in_time(repeated: str) -> None:
    """Every place is alike, and every value is in every place: what cannot be taken out one by one is an error."""
    search = Search([repeated * (65536 // len(repeated))])
    try:
        for length in range(20_000, 20_100):
            search.value("input x", (repeated * length)[:length].encode())
    except TooManyFinds:
        return
    assert search.cleaned()[0].replace("<value of input x>", "").strip(repeated) == ""


def test_names_of_the_models_own_parts_are_no_secret() -> None:
    text = 'Serving signature key "serving_default" not found'
    assert cleaned(text, "serving_default", names=("serving_default",)) == text


def test_each_stretch_is_called_by_what_covers_most_of_it() -> None:
    search = Search(["it was S3cretName-of-somebody"])
    search.value("input short", b"S3cretName")
    search.value("feature long", b"S3cretName-of-somebody")
    assert search.cleaned() == ["it was <value of feature long>"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("[3.14159274]", 3.1415927410125732),
        ("[3.14159]", 3.1415927410125732),
        ("[3.142]", 3.1415927410125732),
        ("[3.1415...]", 3.1415927410125732),
        ("[1.2345679e-07]", 1.23456789e-7),
        ("[-12345.6777]", -12345.6777),
        ("[12345678]", 12345678),
        ("[-9223372036854775807]", -(2**63) + 1),
        ("[18446744073709551615]", 2**64 - 1),
        ("[1.2345e+06]", 1234500.0),
        ("x=50000,", 50000),
    ],
)
def test_numbers_are_found_in_their_decimal_forms(text: str, number: float) -> None:
    search = Search([text])
    search.numbers("input x", [0.0, number, float("nan"), 1e30])
    assert "<value of input x>" in search.cleaned()[0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("took 1 s", 1),
        ("HTTP 404", 404),
        ("0.5000", 0.5),
        ("shape [128,3]", 128),
        ("3.143", 3.1415),
        ("127.0.0.1", 127.0),
    ],
)
def test_numbers_that_name_nobody_are_left(text: str, number: float) -> None:
    search = Search([text])
    search.numbers("input x", [number])
    assert search.cleaned() == [text]


def test_numbers_of_a_log_lines_own_beginning_are_left() -> None:
    line = "2026-11-28 23:17:58.123456: W tensorflow/core/op_kernel.cc:1839] it was 1839"
    search = Search([line])
    search.numbers("input x", [2026, 1839, 58.123456])
    assert search.cleaned() == [line.removesuffix("1839") + "<value of input x>"]
