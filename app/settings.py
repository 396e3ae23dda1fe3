"""Every setting of the tool, read from the environment or from `.env`, and what production refuses."""

from enum import StrEnum
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from platformdirs import user_cache_path
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.llm.choice import LlmProvider, ModelChoice, Server, Servers

MIN_SECRET_LENGTH = 32
# The driver that comes with the tool, whichever way a host writes the address.
DATABASE_SCHEMES = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


class SettingsError(Exception):
    """The settings cannot be used; the message says what to do."""


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class SafetyCheck(StrEnum):
    """What looks at what students and models write."""

    BUILTIN = "builtin"
    PROVIDER = "provider"
    OFF = "off"


class Settings(BaseSettings):
    """The settings of one process. Each field's description is its documentation (`docs/settings.md`)."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    app_url: str = Field(
        default="http://localhost:8000",
        description="Public address of the tool, as Canvas and browsers reach it. https, or http on a loopback host.",
    )
    secret_key: str | None = Field(
        default=None,
        repr=False,
        description=f"Signs cookies; at least {MIN_SECRET_LENGTH} characters, the same for every worker. "
        "In development it is made on first start and kept in KEYS_DIR.",
    )
    database_url: str = Field(
        default="sqlite:///instance/ai_experiences.db",
        repr=False,
        description="SQLAlchemy address of the database: sqlite:///file or postgresql+psycopg://user:password@host/name."
        " A worker opens at most eight connections to PostgreSQL.",
    )
    tool_config: Path = Field(
        default=Path("tool_config.json"),
        description="Platforms in pylti1p3's format; read at start; a blank form is made where it is missing.",
    )
    keys_dir: Path = Field(
        default=Path("keys"),
        description="Folder of the tool's RSA keys (rsa-*.pem, mode 600; the last by name signs), made on first start.",
    )
    lti_private_keys: str | None = Field(
        default=None,
        repr=False,
        description="The tool's RSA keys themselves, instead of files in KEYS_DIR: PEM private keys one after "
        r"another, a JWK or a JWKS, newest first; line ends may be written as \n.",
    )
    auto_approve_deployments: bool = Field(
        default=False,
        description="true lets a new deployment of a registered client in at its first launch; otherwise it waits for "
        "`ai-experiences platform approve`.",
    )
    allow_private_platforms: bool = Field(
        default=False,
        description="true lets platforms on private addresses register themselves by an invitation's link.",
    )
    log_level: LogLevel = Field(default=LogLevel.INFO, description="DEBUG, INFO, WARNING or ERROR.")
    session_idle_minutes: int = Field(
        default=240, ge=5, le=1440, description="Minutes without a request after which a launch ends."
    )
    llm_provider: LlmProvider | None = Field(
        default=None,
        description="openai (any OpenAI-compatible server), anthropic, local (the embedded model) or scripted. "
        "Default: openai where LLM_BASE_URL or LLM_API_KEY is set; otherwise local, which in production must be "
        "named, with `ai-experiences model serve` running beside the tool.",
    )
    llm_model: str | None = Field(
        default=None,
        description="The model that plays the personas, as its server calls it. "
        "Default: gpt-4o-mini, or claude-haiku-4-5 with anthropic.",
    )
    llm_base_url: str | None = Field(
        default=None,
        description="Address of its server, up to and including /v1. Default: the provider's own.",
    )
    llm_api_key: str | None = Field(
        default=None, repr=False, description="The key that its server wants; empty for none."
    )
    llm_fallbacks: str = Field(
        default="",
        description="Models that are asked, in this order, where LLM_MODEL does not begin to answer, separated by "
        "commas. `name` is another model of the same server, `openai:name` and `anthropic:name` one of those below, "
        "`local` the embedded model. Example: `gpt-4o,anthropic:claude-haiku-4-5`.",
    )
    llm_judge_model: str | None = Field(
        default=None,
        description="The model that judges objectives and writes evaluations, in the notation of LLM_FALLBACKS, which "
        "stand behind it too. Default: LLM_MODEL.",
    )
    llm_openai_base_url: str | None = Field(
        default=None,
        description="Server of models written `openai:name`, up to and including /v1. Default: OpenAI's own; with "
        "neither this nor its key set, LLM_BASE_URL where LLM_PROVIDER is openai.",
    )
    llm_openai_api_key: str | None = Field(
        default=None, repr=False, description="The key for models written `openai:name`."
    )
    llm_anthropic_base_url: str | None = Field(
        default=None,
        description="Server of models written `anthropic:name`, up to and including /v1. Default: Anthropic's own; "
        "with neither this nor its key set, LLM_BASE_URL where LLM_PROVIDER is anthropic.",
    )
    llm_anthropic_api_key: str | None = Field(
        default=None, repr=False, description="The key for models written `anthropic:name`."
    )
    llm_context_tokens: int = Field(
        default=32_000,
        ge=2_000,
        description="The model's window in tokens, prompt and reply together; long conversations are kept inside it. "
        "With fallbacks: the smallest of their windows.",
    )
    llm_max_tokens: int = Field(default=600, ge=16, le=8_000, description="Longest reply, in tokens.")
    llm_connect_timeout: float = Field(default=5, gt=0, description="Seconds to reach the model's server.")
    llm_first_token_timeout: float = Field(
        default=60,
        gt=0,
        description="Seconds to the first word of a reply. A model that thinks before it speaks needs its time.",
    )
    llm_token_timeout: float = Field(
        default=30, gt=0, description="Seconds between two words after which a reply has failed."
    )
    llm_turn_timeout: float = Field(
        default=180, gt=0, description="Seconds for a whole reply, with the waits for another try."
    )
    llm_retries: int = Field(
        default=2,
        ge=0,
        le=5,
        description="How often a model that is busy or out of reach is asked again before it has begun to answer.",
    )
    llm_circuit_failures: int = Field(
        default=5,
        ge=1,
        description="After so many failed calls within LLM_CIRCUIT_SECONDS, half of all calls or more, a model is left "
        "alone for as long.",
    )
    llm_circuit_seconds: float = Field(
        default=20,
        gt=0,
        description="Seconds for which a failing model is left alone, before one call tries it again.",
    )
    llm_scripted_pause: float = Field(
        default=0.03, ge=0, le=1, description="Seconds between two words of the scripted persona."
    )
    daily_starts: int = Field(
        default=100, ge=1, description="Conversations that a person may begin in a day (of UTC)."
    )
    daily_messages: int = Field(
        default=1_000,
        ge=1,
        description="Messages that a person may send in a day, replies tried again among them.",
    )
    daily_evaluations: int = Field(
        default=1_000, ge=1, description="Evaluations that a person may ask for in a day."
    )
    messages_per_minute: int = Field(
        default=30,
        ge=1,
        description="Messages that a person may send in a minute, replies tried again among them.",
    )
    course_tokens_per_month: int | None = Field(
        default=None,
        ge=0,
        description="Tokens that a course may use in a month (of UTC), replies, judgements and evaluations together, "
        "unless an administrator sets its own. Default: as many as it likes.",
    )
    redis_url: str | None = Field(
        default=None,
        repr=False,
        description="Redis in which the rates of the REST API are counted for all workers together "
        "(redis://:password@host:6379/0 or rediss://…). Default: each worker counts on its own.",
    )
    api_token_requests_per_minute: int = Field(
        default=600,
        ge=1,
        description="Requests to the REST API in a minute with one token: so many at once, and more at that pace.",
    )
    api_user_requests_per_minute: int = Field(
        default=1_200,
        ge=1,
        description="Requests to the REST API in a minute by one person, with all their tokens and from pages.",
    )
    safety_check: SafetyCheck = Field(
        default=SafetyCheck.BUILTIN,
        description="What looks at messages and replies for self-harm, threats and abuse: builtin (the tool's own "
        "lists), provider (a moderation endpoint besides), or off. See docs/safety.md.",
    )
    safety_model: str = Field(
        default="openai:omni-moderation-latest",
        description="The model behind `/moderations`, in the notation of LLM_FALLBACKS; asked where SAFETY_CHECK is "
        "provider.",
    )
    safety_timeout: float = Field(
        default=3, gt=0, le=30, description="Seconds that the moderation endpoint may take."
    )
    safety_lists: Path | None = Field(
        default=None, description="Folder of lists of your own (*.toml), which are read besides the tool's."
    )
    help_lines: Path | None = Field(
        default=None,
        description="TOML file of the help lines that a student in danger is shown (name, phone, link, hours; see "
        "docs/safety.md). Default: advice without numbers.",
    )
    local_model_dir: Path = Field(
        default_factory=lambda: user_cache_path("ai-experiences"),
        description="Folder that keeps the embedded model's file (1.1 GB); the user's cache folder by default.",
    )
    local_model_url: str = Field(
        default="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/"
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        description="Where the embedded model's file is asked for first: its vendor, or a copy of it nearer by. "
        "The package index comes after it; the checksum decides.",
    )
    local_model_state: Path = Field(
        default=Path("instance/local-model.json"),
        description="File in which the embedded model's process says how far it is and where it listens.",
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _a_known_database(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in DATABASE_SCHEMES:
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        return f"{DATABASE_SCHEMES[scheme]}://{rest}"

    @field_validator("redis_url")
    @classmethod
    def _a_redis(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("app_url", "llm_base_url", "llm_openai_base_url", "llm_anthropic_base_url")
    @classmethod
    def _without_trailing_slash(cls, value: str | None) -> str | None:
        return value and value.rstrip("/")

    @field_validator("llm_base_url", "llm_openai_base_url", "llm_anthropic_base_url")
    @classmethod
    def _a_servers_address(cls, value: str | None) -> str | None:
        if value is None:
            return value
        parts = urlsplit(value)
        extras = parts.query or parts.fragment or parts.username
        if parts.scheme not in {"http", "https"} or not parts.hostname or extras:
            raise ValueError(
                "must be an address such as https://models.example.edu/v1; keys have settings of their own"
            )
        return value

    @field_validator("app_url")
    @classmethod
    def _an_origin(cls, value: str) -> str:
        parts = urlsplit(value)
        extras = parts.path or parts.query or parts.fragment or parts.username
        if parts.scheme not in {"http", "https"} or not parts.hostname or extras:
            raise ValueError("must be an address such as https://ai.example.edu, without a path")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must start with https:// (plain http works on localhost only)")
        return f"{parts.scheme}://{parts.netloc.lower()}"

    @model_validator(mode="after")
    def _safe_in_production(self) -> Self:
        if self.production:
            if not self.secret_key:
                raise ValueError(
                    "SECRET_KEY is not set. Make one with: "
                    'python -c "import secrets; print(secrets.token_urlsafe(48))"'
                )
            if self.llm_provider is None and self.provider is LlmProvider.LOCAL:
                raise ValueError(
                    "no AI model is set. Set LLM_BASE_URL, LLM_MODEL and LLM_API_KEY for yours, or LLM_PROVIDER=local "
                    "for the small embedded one"
                )
            if self.database_url in {"sqlite://", "sqlite:///", "sqlite:///:memory:"}:
                raise ValueError(
                    "DATABASE_URL names a database in memory, which forgets everything; name a file or server"
                )
        if 2 * self.llm_max_tokens > self.llm_context_tokens:
            raise ValueError(
                "LLM_MAX_TOKENS is over half of LLM_CONTEXT_TOKENS, which leaves no room for the prompt"
            )
        if self.secret_key is not None and len(self.secret_key.strip()) < MIN_SECRET_LENGTH:
            raise ValueError(f"SECRET_KEY is shorter than {MIN_SECRET_LENGTH} characters; make a longer one")
        return self

    @model_validator(mode="after")
    def _models_that_can_answer(self) -> Self:
        """Let what cannot be read or reached fail now, not at the first reply."""
        _ = self.conversation_models, self.judge_models, self.moderation_model
        return self

    @property
    def production(self) -> bool:
        """True where people other than this machine's own reach the tool: APP_URL is https."""
        return self.app_url.startswith("https://")

    @cached_property
    def provider(self) -> LlmProvider:
        """The adapter that answers: LLM_PROVIDER, or what the other LLM settings imply."""
        if self.llm_provider is not None:
            return self.llm_provider
        return LlmProvider.OPENAI if self.llm_api_key or self.llm_base_url else LlmProvider.LOCAL

    @cached_property
    def conversation_models(self) -> tuple[ModelChoice, ...]:
        """The models that may play the personas, in the order in which they are asked."""
        return (self._servers.own.model(self.llm_model), *self._fallbacks)

    @cached_property
    def judge_models(self) -> tuple[ModelChoice, ...]:
        """The models that may give structured answers, in the order in which they are asked."""
        if self.llm_judge_model is None:
            return self.conversation_models
        return (self._servers.read("LLM_JUDGE_MODEL", self.llm_judge_model), *self._fallbacks)

    @cached_property
    def moderation_model(self) -> ModelChoice | None:
        """The moderation model that is to be asked about texts; None for none."""
        if self.safety_check is not SafetyCheck.PROVIDER:
            return None
        choice = self._servers.read("SAFETY_MODEL", self.safety_model)
        if choice.provider is not LlmProvider.OPENAI:
            raise ValueError(f"SAFETY_MODEL: {choice.provider} has no moderation endpoint; write openai:name")
        return choice

    @property
    def _fallbacks(self) -> tuple[ModelChoice, ...]:
        return self._servers.read_all("LLM_FALLBACKS", self.llm_fallbacks)

    @property
    def _servers(self) -> Servers:
        openai, anthropic = LlmProvider.OPENAI, LlmProvider.ANTHROPIC
        return Servers(
            Server("LLM", self.provider, self.llm_base_url, self.llm_api_key),
            Server("LLM_OPENAI", openai, self.llm_openai_base_url, self.llm_openai_api_key),
            Server("LLM_ANTHROPIC", anthropic, self.llm_anthropic_base_url, self.llm_anthropic_api_key),
        )


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - as many kinds as there are settings
    """Read the settings; ``overrides`` win over the environment. Raises `SettingsError` naming each bad one."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = (
            f"{'_'.join(str(part) for part in problem['loc']).upper()}: " * bool(problem["loc"])
            + problem["msg"].removeprefix("Value error, ")
            for problem in error.errors()
        )
        raise SettingsError("\n".join(problems)) from error


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
