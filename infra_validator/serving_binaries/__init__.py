"""WHAT is run as a model server: the base class of all serving binaries, and a module for each kind."""

from typing import TYPE_CHECKING

from infra_validator._lazy_names import lazy_names

if TYPE_CHECKING:
    from infra_validator.serving_binaries.base_binary import BaseServingBinary
else:
    __getattr__ = lazy_names(__name__, {"BaseServingBinary": "base_binary"})

__all__ = ["BaseServingBinary"]
