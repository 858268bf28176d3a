"""Fixtures for tests of providers."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from parley_daemon.adapters.providers.http_model import HttpModel
from tests.support.providers.chat_model import Open, opened
from tests.support.providers.server import FakeProvider


@pytest.fixture
async def open_model() -> AsyncGenerator[Open]:
    """Return a maker of models that are closed at the end."""
    models: list[HttpModel] = []

    def make(url: str | FakeProvider, **options: Any) -> HttpModel:
        models.append(opened(url if isinstance(url, str) else url.base_url, **options))
        return models[-1]

    yield make
    for model in models:
        await model.aclose()
