"""The command ``infra-validator``: finds the subcommand and hands it the rest of the command line."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from infra_validator._version import __version__

#: subcommand -> (module with ``main(argv) -> exit code``, what it does). Imported when used: a command pays for itself only.
COMMANDS = {
    "validate": ("infra_validator.cli.validate", "validate a model: start a server, ask it, give a verdict"),
    "verify": ("infra_validator.cli.verify", "check that a model is the one that was blessed"),
    "serve": ("infra_validator.embedded_server.main", "run the embedded, TensorFlow-Serving-compatible model server"),
    "probe-sidecar": (
        "infra_validator.probe.sidecar.server",
        "answer health checks with the state of a server's models",
    ),
    "model-runtime": ("infra_validator.cli.model_runtime", "serve models to model-mesh; check and test its runtimes"),
    "kubernetes": ("infra_validator.cli.kubernetes", "print the Role that a serving spec needs in its namespace"),
    "gc": ("infra_validator.cli.gc", "remove what killed validations left behind"),
}

_EXIT_CODES = """\
exit codes:
  0    blessed (validate); done (other commands)
  1    not blessed
  2    wrong usage or a bad spec; nothing was started
  3    could not be tested; no model is blamed
  130  interrupted (SIGINT), cleaned up
  143  terminated (SIGTERM), cleaned up"""


def usage() -> str:
    lines = ["usage: infra-validator COMMAND [ARGUMENTS]", "", "commands:"]
    lines += [f"  {name:<15} {what}" for name, (_, what) in COMMANDS.items()]
    lines += ["", _EXIT_CODES, "", "infra-validator COMMAND --help tells more about a command."]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"infra-validator {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        print(f"infra-validator: there is no command {arguments[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    module, _ = COMMANDS[arguments[0]]
    try:
        code = importlib.import_module(module).main(arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output went away: what `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return int(code)
