"""``make map`` tells the folders from the ground up, and what has grown too big."""

from __future__ import annotations

import pathlib

from component_tests.unit.test_layers import tree
from tools.map import lines_of, rows, too_big


def test_folders_stand_above_what_they_import(tmp_path: pathlib.Path) -> None:
    package = tree(
        tmp_path,
        {
            "probe/asking.py": "from infra_validator.probe.transport import dial\nimport infra_validator.core.errors\n",
            "probe/transport/dial.py": "import socket\n",
            "core/errors.py": "\n\n",
        },
    )
    assert [row.split() for row in rows(package)] == [
        ["files", "lines", "folder"],
        ["1", "2", "core"],
        ["1", "1", "probe/transport"],
        ["1", "2", "probe", "imports", "core,", "probe/transport"],
        ["3", "5", "in", "all"],
    ]


def test_what_is_too_big_is_told() -> None:
    lines = {pathlib.PurePath("probe", f"part{number}.py"): 10 for number in range(13)}
    lines[pathlib.PurePath("core/errors.py")] = 401
    lines[pathlib.PurePath("core/reason_codes.py")] = 600
    assert too_big(lines) == [
        "probe holds 13 files, more than 12.",
        "core/errors.py has 401 lines, more than 400.",
    ]


def test_nothing_in_the_package_is_too_big() -> None:
    assert too_big(lines_of()) == []
