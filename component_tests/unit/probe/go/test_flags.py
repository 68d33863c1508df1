"""Flags and durations as Go reads them. What Go does was observed on a Go program with the original's flags (Go 1.19)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_validator.probe.command import main
from infra_validator.probe.go.duration import format_duration, parse_duration
from infra_validator.probe.go.flags import FlagError, HelpAsked, parse_int64
from infra_validator.probe.go.text import escape, quote
from infra_validator.probe.settings import read_settings, usage_text

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("1s", SECOND),
        ("500ms", SECOND // 2),
        ("1m30s", 90 * SECOND),
        ("1.5h", 5400 * SECOND),
        (".5s", SECOND // 2),
        ("5.s", 5 * SECOND),
        ("-1.5s", -3 * SECOND // 2),
        ("+5s", 5 * SECOND),
        ("1h2m3s4ms5us6ns", 3_723_004_005_006),
        ("1us", 1000),
        ("1\u00b5s", 1000),
        ("1\u03bcs", 1000),
        ("0.3333333333333333333h", 1_200_000_000_000),
        ("9223372036854775807ns", 2**63 - 1),
        ("-9223372036854775808ns", -(2**63)),
        ("10ns10ns", 20),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "-",
        "+",
        "s",
        ".",
        ".s",
        "1x",
        "1 s",
        " 1s",
        "1s ",
        "1S",
        "1.2.3s",
        "--1s",
        "1e3s",
        "1d",
        "inf",
        "nan",
        "\u0661s",
        "9223372036854775808ns",
        "99999999999999999999999999999s",
        "3000000h",
        "1s5",
        "0x1s",
        "1_000s",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (3 * SECOND, "3s"),
        (90 * SECOND, "1m30s"),
        (3600 * SECOND, "1h0m0s"),
        (1_500_000, "1.5ms"),
        (1, "1ns"),
        (1100, "1.1\u00b5s"),
        (-SECOND // 4, "-250ms"),
        (2**63 - 1, "2562047h47m16.854775807s"),
    ],
)
def test_durations_are_printed_as_go_prints_them(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_printed_duration_reads_back(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@given(st.text(alphabet="0123456789.+-smhnuµx_ ", max_size=12))
def test_no_text_breaks_the_duration_reader(text: str) -> None:
    try:
        nanoseconds = parse_duration(text)
    except ValueError:
        return
    assert -(2**63) <= nanoseconds < 2**63


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("123", 123),
        ("-1", -1),
        ("+7", 7),
        ("0x1F", 31),
        ("0b101", 5),
        ("0o17", 15),
        ("017", 15),
        ("0_7", 7),
        ("1_000", 1000),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_numbers(text: str, number: int) -> None:
    assert parse_int64(text) == number


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (text, "parse error")
        for text in ["", "x", "1.0", "1_", "_1", "1__0", "08", "0x", " 1", "1 ", "--1", "+-1", "\u0661", "1e3"]
    ]
    + [("9223372036854775808", "value out of range"), ("-9223372036854775809", "value out of range")],
)
def test_what_is_no_number(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_int64(text)


def test_the_originals_flags_and_defaults() -> None:
    settings = read_settings([])
    assert str(settings.address) == "localhost:9000"
    assert [(model.name, model.version, model.label) for model in settings.models] == [("default", None, "")]
    assert (settings.connect_timeout, settings.rpc_timeout) == (3.0, 10.0)
    assert (settings.policy, settings.wait, settings.output, settings.tls) == ("any", 0.0, "text", False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-addr=h:1", "-model-name=m", "-model-version=7", "-connect-timeout=1m30s", "-rpc-timeout=500ms"],
        ["--addr=h:1", "--model-name=m", "--model-version=7", "--connect-timeout=1m30s", "--rpc-timeout=500ms"],
        [
            "-addr",
            "h:1",
            "--model-name",
            "m",
            "-model-version",
            "0x7",
            "--connect-timeout",
            "1.5m",
            "-rpc-timeout",
            ".5s",
        ],
        [
            "-addr=other:2",
            "-addr=h:1",
            "-model-name=m",
            "-model-version=7",
            "-connect-timeout=90s",
            "-rpc-timeout=500ms",
            "--",
        ],
    ],
)
def test_the_forms_of_a_flag(arguments: list[str]) -> None:
    settings = read_settings(arguments)
    model = settings.models[0]
    assert (str(settings.address), model.name, model.version) == ("h:1", "m", 7)
    assert (settings.connect_timeout, settings.rpc_timeout) == (90.0, 0.5)


def test_flags_end_at_the_first_other_argument() -> None:
    settings = read_settings(["-model-name=a", "word", "-model-name=b"])
    assert settings.models[0].name == "a"
    assert settings.ignored == ["word", "-model-name=b"]
    assert read_settings(["-model-name=a", "-", "-x"]).ignored == ["-", "-x"]
    assert read_settings(["--", "-model-name=b"]).models[0].name == "default"


@pytest.mark.parametrize("arguments", [["-h"], ["-help"], ["--h"], ["--help"], ["-model-name=m", "-h"], ["-help=x"]])
def test_help_is_an_exit_of_0_with_the_usage_on_stderr(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HelpAsked):
        read_settings(arguments)
    assert main(arguments) == 0
    out, err = capfd.readouterr()
    assert (out, err) == ("", usage_text("tfs_model_status_probe"))


def test_the_usage_is_laid_out_as_gos() -> None:
    text = usage_text("./tfs_model_status_probe")
    assert text.startswith("Usage of ./tfs_model_status_probe:\n  -addr string\n    \t")
    assert '  -model-name string\n    \tThe name of the model (default "default")\n' in text
    assert "  -model-version int\n    \tThe version of the model\n" in text
    assert "  -connect-timeout duration\n    \tTimeout for making connection (default 3s)\n" in text
    assert "  -tls\n    \t" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-x"], "flag provided but not defined: -x"),
        (["--no-such=1"], "flag provided but not defined: -no-such"),
        (["---addr=x"], "bad flag syntax: ---addr=x"),
        (["-=3"], "bad flag syntax: -=3"),
        (["--=3"], "bad flag syntax: --=3"),
        (["-addr"], "flag needs an argument: -addr"),
        (["-model-version=a"], 'invalid value "a" for flag -model-version: parse error'),
        (["-model-version="], 'invalid value "" for flag -model-version: parse error'),
        (
            ["-model-version", "9223372036854775808"],
            'invalid value "9223372036854775808" for flag -model-version: value out of range',
        ),
        (["-connect-timeout=3"], 'invalid value "3" for flag -connect-timeout: parse error'),
        (["-rpc-timeout", "1 s"], 'invalid value "1 s" for flag -rpc-timeout: parse error'),
        (["-rpc-timeout=\t"], r'invalid value "\t" for flag -rpc-timeout: parse error'),
        (["-tls=maybe"], 'invalid boolean value "maybe" for -tls: parse error'),
        # Ours.
        (["--policy=some"], 'invalid value "some" for flag -policy: must be one of any, all, latest, exact'),
        (
            ["--policy=exact"],
            "flag -policy exact needs a version: -model-version, -version-label, or -model NAME:VERSION",
        ),
        (["--policy=all", "-model-version=1"], "flag -policy all cannot be used together with a version"),
        (["--policy=exact", "--model=a:1", "--model=b"], "flag -policy exact needs a version"),
        (["--model=a", "-model-name=b"], "flag -model-name cannot be used together with -model"),
        (["--model=a", "-model-version=1"], "flag -model-version cannot be used together with -model"),
        (["--model=:1"], 'invalid value ":1" for flag -model: want NAME:VERSION'),
        (["--model=a@"], 'invalid value "a@" for flag -model: want NAME@LABEL'),
        (["--model=a:99999999999999999999"], "want NAME:VERSION"),
        (["-model-version=1", "--version-label=x"], "flag -model-version cannot be used together with -version-label"),
        (["--output=xml"], 'invalid value "xml" for flag -output: must be one of text, json'),
        (["--tls-ca-cert=/no/such"], "flag -tls-ca-cert needs -tls"),
        (["--tls", "--tls-ca-cert=/no/such"], "flag -tls-ca-cert: cannot read /no/such"),
        (["--tls", "--tls-client-cert=/etc/hostname"], "flags -tls-client-cert and -tls-client-key need each other"),
        (
            ["--tls", "--tls-no-verify", "--transport=grpcio"],
            "flag -tls-no-verify is not possible with -transport grpcio",
        ),
        (["--user-agent=a\nb"], "invalid value for flag -user-agent: only printable ASCII can be sent"),
        (["--infer=/no/such"], "flag -infer: cannot read /no/such: No such file or directory"),
        (["--infer=/etc", "--model=a"], "flag -infer: cannot read /etc: Is a directory"),
        (["--infer=/no/such", "--model=a", "--model=b"], "flag -infer goes with one model only"),
        (["-addr="], "invalid value for flag -addr: address : missing port in address"),
        (["-addr=host"], "invalid value for flag -addr: address host: missing port in address"),
        (["-addr=::1:8500"], "too many colons in address"),
        (["-addr=http://host:8500"], "scheme 'http' is not known"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err.split("\n")[0]
    assert "\nUsage of tfs_model_status_probe:\n" in err


def test_several_models_in_one_call() -> None:
    models = read_settings(["--model=a", "--model", "b:3", "-model=c@stable", "--model=d:x", "--model=e:0"]).models
    assert [(m.name, m.version, m.label) for m in models] == [
        ("a", None, ""),
        ("b", 3, ""),
        ("c", None, "stable"),
        ("d:x", None, ""),
        ("e", 0, ""),
    ]


def test_a_version_of_0_is_none_as_in_the_original() -> None:
    assert read_settings(["-model-version=0"]).models[0].version is None


@given(st.lists(st.text(max_size=20), max_size=5))
def test_no_command_line_breaks_the_reader(arguments: list[str]) -> None:
    try:
        read_settings(arguments)
    except (FlagError, HelpAsked):
        pass


@given(st.text())
def test_what_is_logged_is_one_printable_line(text: str) -> None:
    assert escape(text).isprintable()
    assert quote(text).isprintable()


def test_quoting() -> None:
    assert quote('a"b\\c\n\x1b\u2028\U000e0001') == r'"a\"b\\c\n\x1b\u2028\U000e0001"'
