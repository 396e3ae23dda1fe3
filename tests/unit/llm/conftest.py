"""Requests and settings as the adapters get them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings, load_settings
from tests.support.fake_model import FakeModel

MakeSettings = Callable[..., Settings]


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with FakeModel() as fake:
        yield fake


@pytest.fixture
def make_settings(model: FakeModel, tmp_path: Path) -> MakeSettings:
    """Settings that reach the fake model and touch nothing outside the test's folder."""

    def make(**overrides: Any) -> Settings:
        defaults = {
            "_env_file": None,
            "llm_base_url": model.base_url,
            "llm_api_key": "sk-a-very-secret-key",
            "llm_model": "test-model",
            "llm_retries": 0,
            "llm_scripted_pause": 0,
            "local_model_dir": tmp_path / "cache",
            "local_model_state": tmp_path / "state" / "local-model.json",
        }
        return load_settings(**(defaults | overrides))

    return make
