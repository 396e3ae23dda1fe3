"""The ways in which tokens are given out (RFC 6749, sections 4.1, 4.4 and 6), in Authlib's words."""

from typing import Any

from authlib.consts import default_json_headers
from authlib.oauth2.rfc6749 import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Request,
    grants,
)
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7636.challenge import compare_s256_code_challenge

from app.api.endpoints import known_scopes
from app.api.oauth import codes, tokens
from app.api.oauth.admission import is_admitted
from app.api.oauth.assertions import SignedAssertion
from app.api.oauth.models import AccessToken, AuthorizationCode, OAuthClient
from app.api.oauth.scopes import parse_scopes
from app.api.oauth.sign_ins import SignedIn
from app.courses.models import MAX_NAME, User
from app.courses.names import person_name
from app.database import request_session
from app.secret import new_secret
from app.text import clean_line

S256 = "S256"
SECRETS = ["client_secret_basic", "client_secret_post", SignedAssertion.CLIENT_AUTH_METHOD]

Answer = tuple[int, dict[str, Any], list[tuple[str, str]]]


class Pkce(CodeChallenge):
    """Proof that whoever brings a code is who asked for it (RFC 7636): by S256 alone, and by every public program."""

    SUPPORTED_CODE_CHALLENGE_METHOD = [S256]
    CODE_CHALLENGE_METHODS = {S256: compare_s256_code_challenge}

    def validate_code_challenge(self, grant: "AuthorizationCodeGrant", redirect_uri: str) -> None:
        """Raise `InvalidRequestError` for a challenge that is missing, or of another method."""
        super().validate_code_challenge(grant, redirect_uri)
        challenge = grant.request.payload.data.get("code_challenge")
        if challenge and grant.request.payload.data.get("code_challenge_method") != S256:
            raise InvalidRequestError("The 'code_challenge_method' must be S256.")
        if not challenge and grant.program.is_public:
            raise InvalidRequestError("Missing 'code_challenge'")

    def get_authorization_code_challenge_method(self, authorization_code: "_Code") -> str:
        """Return the one method that there is."""
        return S256


class _Code:
    """An authorization code, as Authlib asks about one."""

    def __init__(self, row: AuthorizationCode) -> None:
        self.row, self.code_challenge = row, row.code_challenge

    def get_redirect_uri(self) -> str | None:
        return self.row.redirect_uri


class _Refreshable:
    """A token that can be refreshed, as Authlib asks about one."""

    def __init__(self, row: AccessToken) -> None:
        self.row = row

    def check_client(self, _program: object) -> bool:
        return True  # it was looked for among the program's own

    def get_scope(self) -> str:
        granted = self.row.granted_scopes
        return " ".join(known_scopes() if granted is None else granted)


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    """A person allows a program to act for them."""

    TOKEN_ENDPOINT_AUTH_METHODS = [*SECRETS, "none"]

    @property
    def program(self) -> OAuthClient:
        """The program that asks."""
        return _client(self.request)

    def generate_authorization_code(self) -> str:
        """Return 256 random bits."""
        return new_secret()

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        """Write down what the code stands for."""
        signed_in: SignedIn = request.user
        codes.save_code(
            request_session(),
            code,
            self.program,
            signed_in,
            redirect_uri=request.payload.redirect_uri or None,
            scopes=parse_scopes(request.scope),
            purpose=clean_line(request.payload.data.get("purpose"), MAX_NAME),
            code_challenge=request.payload.data.get("code_challenge"),
        )

    def query_authorization_code(self, code: str, program: Any) -> _Code | None:  # noqa: ANN401 - as Authlib has it
        """Find what the code stands for."""
        found = codes.find_code(request_session(), program.client, code)
        return _Code(found) if found else None

    def create_token_response(self) -> Answer:
        """Give a token to a program that brought a code."""
        session, code = request_session(), self.request.authorization_code.row
        if not is_admitted(session, code.user_id, code.deployment_id):
            raise InvalidGrantError("The person is in no course any more.")
        user = session.get_one(User, code.user_id)
        issued = tokens.issue(
            session,
            user,
            deployment_id=code.deployment_id,
            scopes=code.scopes,
            name=code.purpose,
            client=self.program,
            is_refreshed=True,
        )
        codes.use_code(code, issued.token)
        return _answer(issued, user)


class ClientCredentialsGrant(grants.ClientCredentialsGrant):
    """A program acts for the platform, or for one deployment of it."""

    TOKEN_ENDPOINT_AUTH_METHODS = SECRETS

    def create_token_response(self) -> Answer:
        """Give a token to a program that showed who it is."""
        session, client = request_session(), _client(self.request)
        allowed = self.client.get_allowed_scope(self.request.payload.scope)
        if allowed is None:
            raise InvalidScopeError
        issued = tokens.issue(
            session,
            session.get_one(User, client.service_user_id),
            deployment_id=client.deployment_id,
            scopes=parse_scopes(allowed),
            client=client,
            is_service=True,
        )
        status, body, headers = _answer(issued)
        return status, {"scope": ""} | body, headers


class RefreshTokenGrant(grants.RefreshTokenGrant):
    """A program that a person allowed goes on."""

    TOKEN_ENDPOINT_AUTH_METHODS = [*SECRETS, "none"]

    def authenticate_refresh_token(self, refresh_token: str) -> _Refreshable | None:
        """Find what the refresh token renews."""
        found = tokens.find_refreshable(request_session(), _client(self.request), refresh_token)
        return _Refreshable(found) if found else None

    def create_token_response(self) -> Answer:
        """Give a token for another hour."""
        session, token = request_session(), self.request.refresh_token.row
        if not is_admitted(session, token.user_id, token.deployment_id):
            raise InvalidGrantError("The person is in no course any more.")
        scopes = parse_scopes(self.request.payload.scope) or token.granted_scopes
        presented = self.request.form["refresh_token"]
        issued = tokens.renew(token, _client(self.request), presented, scopes)
        return _answer(issued, session.get_one(User, token.user_id))


def _client(request: OAuth2Request) -> OAuthClient:
    client: OAuthClient = request.client.client
    return client


def _answer(issued: tokens.Issued, user: User | None = None) -> Answer:
    """Shape a token as Canvas does; `scope` is added where there is a limit."""
    body: dict[str, Any] = {"access_token": issued.secret, "token_type": "Bearer"}
    if user is not None:
        body["user"] = {"id": user.id, "name": person_name(user)}
    if issued.refresh_secret is not None:
        body["refresh_token"] = issued.refresh_secret
    body["expires_in"] = int(tokens.LIFETIME.total_seconds())
    if issued.token.scopes is not None:
        body["scope"] = " ".join(issued.token.scopes)
    return 200, body, default_json_headers
