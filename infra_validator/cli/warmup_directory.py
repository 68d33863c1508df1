"""``--make-warmup``: the directory for the model with its warm-up file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from infra_validator.core.errors import UsageError

if TYPE_CHECKING:
    from infra_validator.validation.warmup.warmed_copy import LocalWarmedCopy

FLAG = "--make-warmup"


def warmed_copy(directory: str, model: str, others: dict[str, str | None]) -> LocalWarmedCopy:
    """Make and try the directory.

    Args:
      directory: as given.
      model: the model's path.
      others: flag -> what else the command writes; none of it may lie in the directory, which is a model.

    Raises:
      UsageError: the directory holds something, lies in the model, or something else is to be written to it.
      InfrastructureError: it cannot be written to (OUTPUT_NOT_WRITABLE).
    """
    from infra_validator.validation.warmup.warmed_copy import LocalWarmedCopy

    around = os.path.realpath(directory)
    for flag, path in others.items():
        if path is not None and os.path.commonpath([around, os.path.realpath(path)]) == around:
            raise UsageError(
                f"{flag} {path} lies in {FLAG} {directory}, which is to hold the model and nothing else.",
                next_step="Name a place outside of it.",
            )
    return LocalWarmedCopy(directory, model, FLAG)
