"""Prints the package's folders from the ground up: files, lines, and what each imports of the others. Read from the code.

    python -m tools.map             # the folders
    python -m tools.map --files     # and their files

Exits with 1 if a folder holds more than 12 files or a file more than 400 lines. Generated code and tables are not counted against
that, nor are empty files.
"""

from __future__ import annotations

import collections
import pathlib
import sys

from tools.layers import ORDER, PACKAGE, Steps, imports, sources

MOST_FILES, MOST_LINES = 12, 400
#: Files that are one table, and folders of generated code.
TABLES = ("core/reason_codes.py",)
GENERATED = ("protos",)


def folder_of(path: pathlib.PurePath) -> str:
    """The folder of a file, as text; ``.`` for the package's own."""
    return path.parent.as_posix()


def place(folder: str, order: dict[str, Steps] = ORDER) -> list[tuple[int, int]]:
    """Sorts folders from the ground up: its step, and its place in the step, in each folder on the way down."""
    found = []
    above = ""
    for name in [] if folder == "." else folder.split("/"):
        found.append(_standing(name, order.get(above, ())))
        above = f"{above}/{name}".lstrip("/")
    if above in order:  # the folder's own files, among the folders that it holds
        found.append(_standing("*", order[above]))
    return found


def _standing(name: str, steps: Steps) -> tuple[int, int]:
    for number, step in enumerate(steps):
        if name in step:
            return number, step.index(name)
    return len(steps), 0


def lines_of(package: pathlib.Path = PACKAGE) -> dict[pathlib.PurePath, int]:
    """File, relative to the package -> how many lines it has; empty files are left out."""
    counted = {path.relative_to(package): len(path.read_text().splitlines()) for path in sources(package)}
    return {path: count for path, count in counted.items() if count}


def too_big(lines: dict[pathlib.PurePath, int]) -> list[str]:
    """A sentence for each folder with too many files and each file with too many lines."""
    files = collections.Counter(folder_of(path) for path in lines)
    return [
        f"{folder} holds {count} files, more than {MOST_FILES}."
        for folder, count in sorted(files.items())
        if count > MOST_FILES and folder not in GENERATED
    ] + [
        f"{path} has {count} lines, more than {MOST_LINES}."
        for path, count in sorted(lines.items())
        if count > MOST_LINES and path.as_posix() not in TABLES
    ]


def rows(package: pathlib.Path = PACKAGE, *, with_files: bool = False) -> list[str]:
    """The map: files, lines, folder, and the folders that its files import, from the ground up."""
    lines = lines_of(package)
    imported: dict[str, set[str]] = collections.defaultdict(set)
    for one in imports(package):
        if one.target is not None and folder_of(one.target) != folder_of(one.importer):
            imported[folder_of(one.importer)].add(folder_of(one.target))
    folders = sorted({folder_of(path) for path in lines}, key=place)
    width = max(len(folder) for folder in folders)
    found = ["files  lines  folder"]
    for folder in folders:
        inside = {path: count for path, count in lines.items() if folder_of(path) == folder}
        below = ", ".join(sorted(imported[folder], key=place))
        found.append(
            f"{len(inside):5}  {sum(inside.values()):5}  {folder:{width}}  {'imports ' + below if below else ''}".rstrip()
        )
        if with_files:
            found += [f"{count:12}    {path.name}" for path, count in sorted(inside.items())]
    return [*found, f"{len(lines):5}  {sum(lines.values()):5}  in all"]


def main(arguments: list[str]) -> int:
    """Print the map; 1 if something is too big."""
    problems = too_big(lines_of())
    print("\n".join(rows(with_files="--files" in arguments) + problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
