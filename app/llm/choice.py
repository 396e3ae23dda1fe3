"""Which models the settings name, and where they are served. Raises ValueError with a sentence that says what to do."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Final, NoReturn


class LlmProvider(StrEnum):
    """Whose models the tool can talk to."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    LOCAL = "local"
    SCRIPTED = "scripted"


# Providers with a server of their own, which answers nobody without a key; and a model of theirs to begin with.
OFFICIAL_SERVERS: Final = {
    LlmProvider.OPENAI: "https://api.openai.com/v1",
    LlmProvider.ANTHROPIC: "https://api.anthropic.com/v1",
}
FIRST_MODELS: Final = {
    LlmProvider.OPENAI: "gpt-4o-mini",
    LlmProvider.ANTHROPIC: "claude-haiku-4-5",
}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model and its server: ``base_url`` up to and including /v1, empty where it needs none."""

    provider: LlmProvider
    model: str
    base_url: str = ""
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a provider's models are served. ``settings`` begins the names of the settings that say so."""

    settings: str
    provider: LlmProvider
    base_url: str | None
    api_key: str | None = field(repr=False)

    @property
    def is_set(self) -> bool:
        """Whether any of its settings is."""
        return bool(self.base_url or self.api_key)

    def model(self, name: str | None) -> ModelChoice:
        """Choose one of its models, None for the one to begin with."""
        if self.provider not in OFFICIAL_SERVERS:
            return ModelChoice(self.provider, self.provider.value)
        official = OFFICIAL_SERVERS[self.provider]
        base_url = self.base_url or official
        if base_url == official and not self.api_key:
            raise ValueError(f"{self.settings}_API_KEY is not set, and {official} answers nobody without one")
        return ModelChoice(self.provider, name or FIRST_MODELS[self.provider], base_url, self.api_key)


class Servers:
    """Reads the notation in which settings name models."""

    def __init__(self, own: Server, *others: Server) -> None:
        self.own = own
        self._others = {server.provider.value: server for server in others}

    def read_all(self, setting: str, written: str) -> tuple[ModelChoice, ...]:
        """Read a list of models that stand behind another, separated by commas."""
        names = [name for name in map(str.strip, written.split(",")) if name]
        if names and self.own.provider not in OFFICIAL_SERVERS:
            raise ValueError(f"{setting}: nothing stands behind LLM_PROVIDER={self.own.provider}")
        return tuple(self.read(setting, name) for name in names)

    def read(self, setting: str, written: str) -> ModelChoice:
        """Read ``name`` (at the own server), ``provider:name`` (at one of the others) or ``local``.

        Names of models may have a colon themselves: what is before it counts only if it is a provider.
        """
        prefix, colon, name = written.partition(":")
        if written == LlmProvider.LOCAL:
            return ModelChoice(LlmProvider.LOCAL, LlmProvider.LOCAL.value)
        if colon and prefix in self._others:
            return self._server(prefix).model(name or _refuse(setting, written, f"{prefix}:name"))
        if colon and (meant := get_close_matches(prefix, self._others, n=1)):
            _refuse(setting, written, f"{meant[0]}:{name}")
        if self.own.provider not in OFFICIAL_SERVERS:
            _refuse(setting, written, f"openai:{written}")
        return self.own.model(written)

    def _server(self, provider: str) -> Server:
        server = self._others[provider]
        return self.own if self.own.provider == provider and not server.is_set else server


def _refuse(setting: str, written: str, meant: str) -> NoReturn:
    raise ValueError(f"{setting}: {written} names no model that can be asked; write something like {meant}")
