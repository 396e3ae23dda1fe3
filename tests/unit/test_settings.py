"""Settings: safe defaults, and refusals that say what to do."""

import re
from pathlib import Path

import pytest

from app.llm.choice import LlmProvider
from app.settings import Settings, SettingsError, load_settings

PRODUCTION = {
    "_env_file": None,
    "app_url": "https://ai.example.edu",
    "secret_key": "x" * 32,
    "database_url": "postgresql+psycopg://tool@db/tool",
    "llm_provider": "local",
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_defaults_serve_a_developer() -> None:
    settings = load_settings(_env_file=None)
    assert not settings.production
    assert settings.provider is LlmProvider.LOCAL


def test_production_with_everything_set_is_accepted() -> None:
    assert load_settings(**PRODUCTION).production


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"secret_key": None}, "SECRET_KEY is not set. Make one with"),
        ({"app_url": "HTTPS://ai.example.edu", "secret_key": None}, "SECRET_KEY is not set"),
        ({"app_url": "https://user@ai.example.edu"}, "without a path"),
        ({"secret_key": " " * 40}, "SECRET_KEY is shorter"),
        ({"secret_key": "short"}, "SECRET_KEY is shorter than 32 characters"),
        ({"app_url": "http://ai.example.edu"}, "must start with https://"),
        ({"app_url": "https://ai.example.edu/tool"}, "without a path"),
        ({"app_url": "ai.example.edu"}, "must be an address"),
        ({"database_url": "sqlite://"}, "forgets everything"),
        ({"llm_provider": "openai"}, "LLM_API_KEY is not set"),
        (
            {"llm_provider": "anthropic"},
            "LLM_API_KEY is not set, and https://api.anthropic.com/v1 answers nobody",
        ),
        ({"llm_fallbacks": "gpt-4o"}, "LLM_FALLBACKS: nothing stands behind LLM_PROVIDER=local"),
        ({"llm_judge_model": "gpt-4o"}, "LLM_JUDGE_MODEL: gpt-4o names no model"),
        ({"llm_base_url": "models.example.edu"}, "must be an address such as https://models.example.edu/v1"),
        ({"llm_anthropic_base_url": "https://key@host/v1"}, "keys have settings of their own"),
        ({"llm_provider": "someone"}, "LLM_PROVIDER"),
        ({"llm_provider": None}, "no AI model is set"),
        ({"database_url": "mysql://db"}, "must start with sqlite:///"),
        ({"database_url": "nonsense"}, "must start with sqlite:///"),
        ({"log_level": "loud"}, "LOG_LEVEL"),
        ({"llm_max_tokens": 8_000, "llm_context_tokens": 10_000}, "leaves no room"),
        ({"session_idle_minutes": 0}, "SESSION_IDLE_MINUTES"),
    ],
)
def test_unsafe_values_are_refused_with_a_sentence(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings(**PRODUCTION | changes)
    assert sentence in str(refusal.value)
    assert "x" * 32 not in str(refusal.value)


@pytest.mark.parametrize("url", ["http://localhost:8000", "http://127.0.0.1", "http://tool.localhost:1"])
def test_plain_http_works_on_this_machine(url: str) -> None:
    assert load_settings(_env_file=None, app_url=url).app_url == url


@pytest.mark.parametrize("given", [{"llm_api_key": "k"}, {"llm_base_url": "http://localhost:11434/v1"}])
def test_a_configured_model_wins_over_the_embedded_one(given: dict[str, str]) -> None:
    assert load_settings(_env_file=None, **given).provider is LlmProvider.OPENAI


def test_fallbacks_stand_behind_personas_and_judge() -> None:
    settings = load_settings(
        _env_file=None, llm_api_key="k", llm_model="a", llm_fallbacks="b,c", llm_judge_model="judge"
    )
    assert [choice.model for choice in settings.conversation_models] == ["a", "b", "c"]
    assert [choice.model for choice in settings.judge_models] == ["judge", "b", "c"]


def test_a_hosts_own_way_to_write_an_address_is_understood() -> None:
    settings = load_settings(_env_file=None, database_url="postgres://u@db/tool", log_level="debug")
    assert settings.database_url == "postgresql+psycopg://u@db/tool"
    assert settings.log_level == "DEBUG"


def test_secrets_are_not_in_the_representation() -> None:
    settings = load_settings(**PRODUCTION, llm_api_key="sk-secret")
    assert not re.search("sk-secret|x{32}|tool@db", repr(settings))


def test_every_setting_is_documented() -> None:
    document = DOCUMENT.read_text()
    for name, field in Settings.model_fields.items():
        assert field.description
        assert f"`{name.upper()}`" in document
