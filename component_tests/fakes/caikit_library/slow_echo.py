"""A caikit library with one module whose models take as long to load as their config.yml says.

Imported by caikit's own runtime in its environment (see real_platforms/test_caikit_runtime.py); not by our tests.
"""

import time
from typing import Any

from caikit.core import DataObjectBase, ModuleBase, ModuleConfig, TaskBase, dataobject, module, task


@dataobject
class Word(DataObjectBase):  # type: ignore[misc]
    """Input and output."""

    text: str


@task(unary_parameters={"word": Word}, unary_output_type=Word)
class EchoTask(TaskBase):  # type: ignore[misc]
    """Gives a word back."""


@module("a3b1c5d2-0000-4000-8000-00000000c0de", "SlowEcho", "0.0.1", EchoTask)
class SlowEcho(ModuleBase):  # type: ignore[misc]
    """Loads slowly, then gives words back."""

    @classmethod
    def load(cls, model_path: Any, **_: Any) -> "SlowEcho":
        time.sleep(float(ModuleConfig.load(model_path).get("seconds", 0)))
        return cls()

    def save(self, model_path: Any) -> None:
        raise NotImplementedError

    def run(self, word: Word) -> Word:
        """The word itself."""
        return word
