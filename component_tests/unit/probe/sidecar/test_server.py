"""The sidecar's command line, and the table of subcommands it is reached by."""

from __future__ import annotations

import pytest

from infra_validator.cli.main import COMMANDS
from infra_validator.probe.sidecar.server import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grpc-listen=", "--http-listen="], "nobody could ask"),
        (["--grpc-listen=8086"], 'invalid value "8086" for flag -grpc-listen: want HOST:PORT or :PORT'),
        (["--http-listen=:99999"], "for flag -http-listen"),
        (["--interval=1ms"], "flag -interval must be 10ms or more"),
        (["--addr=nowhere"], "missing port in address"),
        (["--tls-ca-cert=/no/such"], "needs -tls"),
        (["--wait=1s"], "flag provided but not defined: -wait"),
        (["model"], "argument 'model' is no flag"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    err = capfd.readouterr().err
    assert words in err.split("\n")[0]
    assert "Usage of infra-validator probe-sidecar:" in err


def test_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "-grpc-listen string" in capfd.readouterr().out


def test_it_is_a_subcommand() -> None:
    assert COMMANDS["probe-sidecar"][0] == "infra_validator.probe.sidecar.server"
