"""``infra-validator validate-changed``: each model that holds a changed file is validated; for pre-commit and the like."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterable, Sequence

from infra_validator.cli import validate

_USAGE = """\
usage: infra-validator validate-changed [OPTIONS OF validate] -- FILE...

Validate each SavedModel that holds one of the files, one after the other. Files of no model are passed over.
The exit code is the greatest of the validations'; 0 if there was none."""
_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")


def main(argv: Sequence[str]) -> int:
    """Run the command: 0 all are blessed; 1 one is not; 2 wrong usage; 3 one could not be tested."""
    if "--help" in argv or "-h" in argv:
        print(_USAGE)
        return 0
    if "--" not in argv:
        print(f"{_USAGE}\n\nThe files stand after --, and there is none.", file=sys.stderr)
        return 2
    options, files = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    worst = 0
    for model in models_of(files):
        print(f"{model}:", flush=True)
        code = validate.main([*options, f"--model={model}"])
        worst = max(worst, code)
        if code > 3:  # a signal
            break
    return worst


def models_of(files: Iterable[str]) -> list[pathlib.Path]:
    """The directories of the SavedModels that hold the files, each once, in the order of the files."""
    found: dict[pathlib.Path, None] = {}
    for file in files:
        for directory in pathlib.PurePath(file).parents:
            if any(pathlib.Path(directory, name).is_file() for name in _MODEL_FILES):
                found[pathlib.Path(directory)] = None
                break
    return list(found)
