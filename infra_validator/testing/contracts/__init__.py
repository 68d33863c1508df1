"""What every runner, client, serving binary, source of requests and check must do, as tests to inherit (docs/extending.md).

A class of tests is subclassed under a name that pytest collects, and the methods that say ``NotImplementedError`` are given::

    from infra_validator.testing.contracts import ModelServerRunnerContract

    class TestMyRunner(ModelServerRunnerContract):
        def make_runner(self, server, model): ...

The package's own implementations pass the same tests. pytest is needed here, and nowhere else in the package but in ``testing.plugin``.
"""

from typing import TYPE_CHECKING

import pytest

from infra_validator._lazy_names import lazy_names

_NAMES = {
    "AnswerCheckContract": "checks",
    "EntryPointContract": "entry_points",
    "KilledValidatorContract": "runners",
    "ModelServerClientContract": "clients",
    "ModelServerRunnerContract": "runners",
    "Refused": "scripts",
    "RequestSourceContract": "request_sources",
    "Script": "scripts",
    "ServingBinaryContract": "binaries",
}
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in dict.fromkeys(_NAMES.values())))

if TYPE_CHECKING:
    from infra_validator.testing.contracts.binaries import ServingBinaryContract
    from infra_validator.testing.contracts.checks import AnswerCheckContract
    from infra_validator.testing.contracts.clients import ModelServerClientContract
    from infra_validator.testing.contracts.entry_points import EntryPointContract
    from infra_validator.testing.contracts.request_sources import RequestSourceContract
    from infra_validator.testing.contracts.runners import KilledValidatorContract, ModelServerRunnerContract
    from infra_validator.testing.contracts.scripts import Refused, Script
else:
    __getattr__ = lazy_names(__name__, _NAMES)

__all__ = [
    "AnswerCheckContract",
    "EntryPointContract",
    "KilledValidatorContract",
    "ModelServerClientContract",
    "ModelServerRunnerContract",
    "Refused",
    "RequestSourceContract",
    "Script",
    "ServingBinaryContract",
]
