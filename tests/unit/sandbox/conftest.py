"""A sandbox whose tool is nothing but a key."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from flask.testing import FlaskClient

from app.sandbox import Sandbox, SandboxConfig, create_sandbox
from app.sandbox.claims import LTI, Launch
from app.sandbox.deep_linking import DEEP_LINKING
from app.sandbox.keys import KEY_FILE, SigningKeys, public_jwk
from app.sandbox.scopes import SCOPES
from app.sandbox.tokens import ASSERTION_TYPE

Authorize = Callable[..., Any]


class ToolDouble:
    """What the sandbox sees of a tool: a key set, and assertions signed with its key."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.jwk = public_jwk(self.key)

    def deep_linking_response(
        self, settings: dict[str, Any], *items: Any, key: rsa.RSAPrivateKey | None = None, **claims: Any
    ) -> str:
        """The answer to a deep linking request with these settings; ``claims`` replace others, None removes."""
        now = int(time.time())
        content = {
            "iss": "10000000000007",
            "aud": "http://127.0.0.1:8100",
            "iat": now,
            "exp": now + 60,
            "nonce": str(uuid4()),
            f"{LTI}/deployment_id": "7:8865aa05b4b79b64a91a86042e43af5ea8ae79eb",
            f"{LTI}/message_type": "LtiDeepLinkingResponse",
            f"{LTI}/version": "1.3.0",
            f"{DEEP_LINKING}/data": settings["data"],
            f"{DEEP_LINKING}/content_items": items,
            **claims,
        }
        present = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(present, key or self.key, algorithm="RS256", headers={"kid": self.jwk["kid"]})

    def key_set(self, url: str) -> dict[str, Any]:
        assert url == "http://localhost:8000/lti/jwks.json"
        return {"keys": [self.jwk]}

    def assertion(self, config: SandboxConfig, *, key: rsa.RSAPrivateKey | None = None, **claims: Any) -> str:
        now = int(time.time())
        content = {
            "iss": config.client_id,
            "sub": config.client_id,
            "aud": config.token_url,
            "iat": now,
            "exp": now + 60,
            "jti": str(uuid4()),
            **claims,
        }
        return jwt.encode(content, key or self.key, algorithm="RS256", headers={"kid": self.jwk["kid"]})


@pytest.fixture(scope="session")
def tool() -> ToolDouble:
    return ToolDouble()


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform's key, made once."""
    folder = tmp_path_factory.mktemp("key")
    SigningKeys(folder)
    return folder / KEY_FILE


@pytest.fixture
def state_dir(key_file: Path, tmp_path: Path) -> Path:
    """A state folder of the test's own."""
    shutil.copy(key_file, tmp_path)
    return tmp_path


@pytest.fixture
def config(state_dir: Path) -> SandboxConfig:
    return SandboxConfig(state_dir=state_dir)


@pytest.fixture
def app(config: SandboxConfig, tool: ToolDouble) -> Flask:
    return create_sandbox(config, fetch=tool.key_set)


@pytest.fixture
def sandbox(app: Flask) -> Sandbox:
    return app.extensions["sandbox"]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def bearer(sandbox: Sandbox) -> Callable[..., dict[str, str]]:
    def make(*scopes: str) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {sandbox.tokens.issue(scopes or SCOPES, sandbox.config.client_id).value}"
        }

    return make


@pytest.fixture
def token_form(tool: ToolDouble, config: SandboxConfig) -> Callable[..., dict[str, str]]:
    def make(**changes: str) -> dict[str, str]:
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": tool.assertion(config),
            "scope": " ".join(SCOPES),
            **changes,
        }

    return make


@pytest.fixture
def authorization(sandbox: Sandbox) -> Callable[..., dict[str, str]]:
    """The parameters with which a tool answers a login initiation."""

    def make(login: str = "amara.diallo", course_id: int = 1101, **changes: str) -> dict[str, str]:
        launch = Launch(sandbox.person(login), sandbox.course(course_id), sandbox.config.launch_url)
        begun = sandbox.login_parameters(launch)
        return {
            "scope": "openid",
            "response_type": "id_token",
            "response_mode": "form_post",
            "prompt": "none",
            "client_id": begun["client_id"],
            "redirect_uri": sandbox.config.launch_url,
            "login_hint": begun["login_hint"],
            "lti_message_hint": begun["lti_message_hint"],
            "state": "state-1",
            "nonce": "nonce-1",
            **changes,
        }

    return make
