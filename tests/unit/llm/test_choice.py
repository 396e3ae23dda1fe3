"""How settings name models."""

import pytest

from app.llm.choice import LlmProvider, ModelChoice, Server, Servers

OPENAI, ANTHROPIC = LlmProvider.OPENAI, LlmProvider.ANTHROPIC
CAMPUS = Server("LLM", OPENAI, "https://models.example.edu/v1", "campus-key")
OFFICIAL_OPENAI = "https://api.openai.com/v1"
OFFICIAL_ANTHROPIC = "https://api.anthropic.com/v1"


def servers(
    own: Server = CAMPUS, *, openai_key: str | None = None, anthropic_key: str | None = None
) -> Servers:
    return Servers(
        own,
        Server("LLM_OPENAI", OPENAI, None, openai_key),
        Server("LLM_ANTHROPIC", ANTHROPIC, None, anthropic_key),
    )


def refusal(written: str, named: Servers) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        named.read_all("LLM_FALLBACKS", written)
    return str(refused.value)


@pytest.mark.parametrize("name", ["small", "llama3.1:8b", "meta/llama-3.3"])
def test_a_bare_name_is_a_model_of_the_same_server(name: str) -> None:
    expected = ModelChoice(OPENAI, name, "https://models.example.edu/v1", "campus-key")

    assert servers().read("LLM_FALLBACKS", name) == expected


def test_another_provider_has_its_own_server_and_key() -> None:
    choice = servers(anthropic_key="ant").read("LLM_FALLBACKS", "anthropic:claude-haiku-4-5")

    assert choice == ModelChoice(ANTHROPIC, "claude-haiku-4-5", OFFICIAL_ANTHROPIC, "ant")


def test_a_second_server_of_the_same_provider_does_not_get_the_key_of_the_first() -> None:
    choice = servers(openai_key="sk").read("LLM_FALLBACKS", "openai:gpt-4o")

    assert choice == ModelChoice(OPENAI, "gpt-4o", OFFICIAL_OPENAI, "sk")


def test_without_settings_of_its_own_a_provider_is_the_one_that_is_known() -> None:
    assert servers().read("LLM_FALLBACKS", "openai:gpt-4o").base_url == CAMPUS.base_url


def test_a_list_keeps_its_order() -> None:
    choices = servers(anthropic_key="ant").read_all("LLM_FALLBACKS", " small, anthropic:claude ,,local ")

    assert [choice.model for choice in choices] == ["small", "claude", "local"]


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("antropic:claude", "LLM_FALLBACKS: antropic:claude names no model that can be asked"),
        ("antropic:claude", "write something like anthropic:claude"),
        ("anthropic:", "write something like anthropic:name"),
        (
            "anthropic:claude",
            "LLM_ANTHROPIC_API_KEY is not set, and https://api.anthropic.com/v1 answers nobody",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence(written: str, sentence: str) -> None:
    assert sentence in refusal(written, servers())


@pytest.mark.parametrize("provider", [LlmProvider.LOCAL, LlmProvider.SCRIPTED])
def test_nothing_stands_behind_a_model_without_a_server(provider: LlmProvider) -> None:
    named = servers(Server("LLM", provider, None, None), openai_key="sk")

    assert f"nothing stands behind LLM_PROVIDER={provider}" in refusal("openai:gpt-4o", named)


def test_another_model_may_judge_what_the_embedded_one_plays() -> None:
    named = servers(Server("LLM", LlmProvider.LOCAL, None, None), openai_key="sk")

    assert named.own.model(None) == ModelChoice(LlmProvider.LOCAL, "local")
    assert named.read("LLM_JUDGE_MODEL", "openai:gpt-4o").model == "gpt-4o"
    with pytest.raises(ValueError, match="openai:gpt-4o"):
        named.read("LLM_JUDGE_MODEL", "gpt-4o")


@pytest.mark.parametrize(("provider", "model"), [(OPENAI, "gpt-4o-mini"), (ANTHROPIC, "claude-haiku-4-5")])
def test_there_is_a_model_to_begin_with(provider: LlmProvider, model: str) -> None:
    assert Server("LLM", provider, None, "key").model(None).model == model


def test_keys_are_not_in_the_representation() -> None:
    assert "campus-key" not in repr((CAMPUS, CAMPUS.model("small")))
