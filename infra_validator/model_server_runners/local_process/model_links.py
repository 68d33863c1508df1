"""A model where a server of this machine sees it: a link to its directory, or a directory of its own with links to the model's files, so
that what the server writes beside them (Python's ``__pycache__``, say) does not come into the model."""

from __future__ import annotations

import os

from infra_validator.core.launch_plan import ModelMount
from infra_validator.model_server_runners.cleanup.temporary_directory import not_made
from infra_validator.saved_model.find import unreadable


def link_model(model: ModelMount, base_path: str) -> None:
    """Have the model appear below ``base_path``, which is made.

    Raises:
      InfrastructureError: the model cannot be read, or the directory not be made.
    """
    target = os.path.join(base_path, model.inside).rstrip("/")
    if model.apart:
        _link_files(model.source, target)
        return
    try:
        os.makedirs(os.path.dirname(target))
        os.symlink(os.path.abspath(model.source), target)
    except OSError as error:
        raise not_made(base_path, error) from error


def _link_files(source: str, target: str) -> None:
    """Make ``target``, with the directories of ``source`` and a symbolic link for each of its files and links.

    The source is read before anything is made: the target may lie in it.
    """
    source = os.path.abspath(source)
    directories, links = [target], {}
    waiting = [(source, target)]
    while waiting:
        there, here = waiting.pop()
        try:
            for entry in os.scandir(there):
                inside = os.path.join(here, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, inside))
                    directories.append(inside)
                else:
                    links[inside] = entry.path
        except OSError as error:
            raise unreadable(there, error) from error
    try:
        for directory in directories:
            os.makedirs(directory)
        for link, file in links.items():
            os.symlink(file, link)
    except OSError as error:
        raise not_made(target, error) from error
