"""The tools that the account has installed: developer keys and their deployments."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from app.sandbox.config import TOOL_NAME, SandboxConfig
from app.sandbox.placements import COURSE_NAVIGATION, PLACEMENTS
from app.sandbox.scopes import SCOPES
from app.sandbox.storage import JsonFile

FIRST_CLIENT_ID = 10_000_000_000_100
TOOLS_FILE = "tools.json"


class PrivacyLevel(StrEnum):
    """How much of people a tool is told; the words are Canvas's."""

    PUBLIC = "public"
    NAME_ONLY = "name_only"
    EMAIL_ONLY = "email_only"
    ANONYMOUS = "anonymous"


_NAMES = frozenset({"name", "given_name", "family_name"})
PERSONAL_CLAIMS: Mapping[PrivacyLevel, frozenset[str]] = {
    PrivacyLevel.PUBLIC: _NAMES | {"email", "picture"},
    PrivacyLevel.NAME_ONLY: _NAMES,
    PrivacyLevel.EMAIL_ONLY: frozenset({"email"}),
    PrivacyLevel.ANONYMOUS: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Tool:
    """One registration. ``placements`` maps a placement's name to the target link URI of its launches.

    Every deployment in ``deployment_ids`` is good; launches come from the last, unless they name another.
    ``scopes`` are those that the administrator grants.
    """

    client_id: str
    title: str
    deployment_ids: tuple[str, ...]
    login_url: str
    target_link_uri: str
    key_set_url: str
    redirect_uris: frozenset[str]
    placements: Mapping[str, str]
    custom_fields: Mapping[str, str]
    scopes: tuple[str, ...] = SCOPES
    privacy: PrivacyLevel = PrivacyLevel.PUBLIC

    @property
    def deployment_id(self) -> str:
        """The deployment of its launches."""
        return self.deployment_ids[-1]

    @property
    def origin(self) -> str:
        """Scheme, host and port, as browsers compare them."""
        return origin_of(self.target_link_uri)


def configured_tool(config: SandboxConfig) -> Tool:
    """The tool that the sandbox is configured with, in all its placements."""
    deep_linking = dict.fromkeys(PLACEMENTS, config.deep_link_url)
    return Tool(
        client_id=config.client_id,
        title=TOOL_NAME,
        deployment_ids=(config.deployment_id,),
        login_url=config.login_url,
        target_link_uri=config.launch_url,
        key_set_url=config.tool_key_set_url,
        redirect_uris=config.redirect_uris,
        placements={COURSE_NAVIGATION: config.launch_url, **deep_linking},
        custom_fields=config.custom_fields,
    )


def registration(config: SandboxConfig, tool: Tool | None = None) -> dict[str, Any]:
    """The sandbox as a tool registers it: an entry of `tool_config.json`, with its issuer beside.

    Without a ``tool`` it is the configured one's.
    """
    registered = tool or configured_tool(config)
    return {
        "issuer": config.issuer,
        "default": registered.client_id == config.client_id,
        "client_id": registered.client_id,
        "auth_login_url": config.authorize_url,
        "auth_token_url": config.token_url,
        "auth_audience": None,
        "key_set_url": config.key_set_url,
        "key_set": None,
        "deployment_ids": list(registered.deployment_ids),
    }


class Tools:
    """All installed tools. The configured one is made anew on every start; the others are kept in a file."""

    def __init__(self, configured: Tool, folder: Path) -> None:
        self._configured = configured
        self._file: JsonFile[dict[str, Tool]] = JsonFile(
            folder / TOOLS_FILE, TypeAdapter(dict[str, Tool]), dict
        )
        self._lock = RLock()

    def all(self) -> tuple[Tool, ...]:
        """Every tool, the configured one first and the others in the order of their registration."""
        with self._lock, self._file.reading() as registered:
            return (self._configured, *registered.values())

    def find(self, client_id: str | None = None) -> Tool:
        """A tool by its client id, the configured one without. Raises `LookupError`."""
        for tool in self.all():
            if client_id in {None, tool.client_id}:
                return tool
        raise LookupError(f"No tool has the client id {client_id}")

    def save(self) -> None:
        """Write the file now; it is written soon in any case."""
        self._file.save()

    def origins(self) -> tuple[str, ...]:
        """Where tools are: the only pages, beside the sandbox's own, that it shows and sends forms to."""
        return tuple(dict.fromkeys(tool.origin for tool in self.all()))

    def new_client_id(self) -> str:
        """A client id that no tool has."""
        return str(FIRST_CLIENT_ID + len(self.all()))

    def install(self, tool: Tool) -> Tool:
        """Put in a tool, or another state of one that is there."""
        with self._lock:
            if tool.client_id == self._configured.client_id:
                self._configured = tool
                return tool
            with self._file.changing() as registered:
                registered[tool.client_id] = tool
            return tool

    def deploy(self, client_id: str | None = None) -> str:
        """Deploy a tool once more, beside its other deployments, and return the new deployment id."""
        with self._lock:
            tool, fresh = self.find(client_id), new_deployment_id()
            self.install(replace(tool, deployment_ids=(*tool.deployment_ids, fresh)))
            return fresh

    def reinstall(self, client_id: str | None = None) -> str:
        """Remove a tool and install it again: one new deployment id, the old ones are gone."""
        with self._lock:
            fresh = new_deployment_id()
            self.install(replace(self.find(client_id), deployment_ids=(fresh,)))
            return fresh

    def grant_scopes(self, scopes: Iterable[str], client_id: str | None = None) -> None:
        """Allow a tool these scopes from now on and no others."""
        with self._lock:
            self.install(replace(self.find(client_id), scopes=tuple(scopes)))


def new_deployment_id() -> str:
    """A deployment id in Canvas's form: a number and forty hexadecimal digits."""
    return f"{secrets.randbelow(9_000) + 1_000}:{secrets.token_hex(20)}"


def origin_of(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
