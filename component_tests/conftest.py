"""Fixtures of all tests."""

from __future__ import annotations

import pytest

from component_tests.fakes.saved_models import SavedModels, made_once


@pytest.fixture(scope="session")
def saved_models() -> SavedModels:
    """Real SavedModels, good and broken; made once (TensorFlow's import), then kept in ``.cache``."""
    return made_once()
