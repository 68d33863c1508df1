"""A remote store for tasks in processes of their own: ``python -m component_tests.fakes.remote_store MODULE ARGUMENT ...``.

Runs the module with TFX's file systems knowing ``remote://``, whose files lie in the directory named by REMOTE_STORE. As with gs:// or
s3://, only TFX's fileio reads it: to ``open`` and ``os`` such a path is no file of theirs.
"""

from __future__ import annotations

import functools
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from typing import Any

SCHEME = "remote://"


def _local(path: Any) -> Any:
    text = os.fspath(path)
    text = text.decode() if isinstance(text, bytes) else text
    return os.path.join(os.environ["REMOTE_STORE"], text[len(SCHEME) :]) if text.startswith(SCHEME) else path


def _remote(path: str) -> str:
    return SCHEME + os.path.relpath(path, os.environ["REMOTE_STORE"])


def _with_local_paths(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*paths: Any, **more: Any) -> Any:
        return function(*(_local(path) if isinstance(path, (str, bytes)) else path for path in paths), **more)

    return call


def register() -> None:
    """Make ``remote://`` known to TFX in this process."""
    from tfx.dsl.io import filesystem_registry
    from tfx.dsl.io.plugins.tensorflow_gfile import TensorflowFilesystem

    class Remote(TensorflowFilesystem):  # type: ignore[misc]
        SUPPORTED_SCHEMES = [SCHEME]

        @staticmethod
        def glob(pattern: Any) -> list[str]:
            return [_remote(path) for path in TensorflowFilesystem.glob(_local(pattern))]

        @staticmethod
        def walk(top: Any, *more: Any, **options: Any) -> Iterator[tuple[str, list[str], list[str]]]:
            for directory, directories, files in TensorflowFilesystem.walk(_local(top), *more, **options):
                yield _remote(directory), directories, files

    for name in (
        "open",
        "copy",
        "exists",
        "isdir",
        "listdir",
        "makedirs",
        "mkdir",
        "remove",
        "rename",
        "rmtree",
        "stat",
    ):
        setattr(Remote, name, staticmethod(_with_local_paths(getattr(TensorflowFilesystem, name))))
    filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(Remote, priority=20)


if __name__ == "__main__":
    register()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
