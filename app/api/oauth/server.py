"""What Authlib, which knows the protocol (RFC 6749), is told of this tool: programs, codes and tokens.

It opens sessions of its own to read with, so that no transaction is open while a program's keys are fetched.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

from authlib.integrations.flask_oauth2 import AuthorizationServer as FlaskAuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    ClientMixin,
    InvalidClientError,
    InvalidScopeError,
    OAuth2Payload,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.util import scope_to_list
from flask import Flask, Response, request
from werkzeug.datastructures import MultiDict

from app.api.oauth import clients
from app.api.oauth.assertions import SignedAssertion
from app.api.oauth.grants import AuthorizationCodeGrant, ClientCredentialsGrant, Pkce, RefreshTokenGrant
from app.api.oauth.models import OAuthClient
from app.api.oauth.scopes import UnknownScopeError, parse_scopes, within
from app.database import database

# At level DEBUG it would write tokens.
logging.getLogger("authlib").setLevel(logging.INFO)


class Payload(OAuth2Payload):
    """The parameters of one request, from where it may carry them."""

    def __init__(self, parameters: MultiDict[str, str]) -> None:
        self._parameters = parameters

    @property
    def data(self) -> MultiDict[str, str]:
        """The parameters by name."""
        return self._parameters

    @property
    def datalist(self) -> defaultdict[str, list[str]]:
        """All values of each parameter."""
        return defaultdict(list, self._parameters.to_dict(flat=False))


class ReadRequest(OAuth2Request):
    """A request whose parameters were read already: from the query where people come, from the body where programs do.

    That it came safely is settled: the settings allow plain http on this machine alone, and behind a proxy the address
    that arrives here says nothing.
    """

    def __init__(self, parameters: MultiDict[str, str]) -> None:
        super().__init__(request.method, f"https://{request.host}{request.path}", headers=request.headers)
        self.payload = Payload(parameters)

    @property
    def form(self) -> MultiDict[str, str]:
        """The same parameters, as Authlib also asks for them."""
        return self.payload.data


class Program(ClientMixin):
    """A program, as Authlib asks about one."""

    def __init__(self, client: OAuthClient) -> None:
        self.client = client

    def get_client_id(self) -> str:
        """Return its public name."""
        return self.client.client_id

    def get_default_redirect_uri(self) -> str | None:
        """Return where people are sent back to, if that can only be one place."""
        registered = self.client.redirect_uris
        return registered[0] if len(registered) == 1 else None

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Return the scopes that it gets when it asks for these: all of its own when it asks for none.

        None where it may not have them; empty where nothing limits them.
        """
        asked, limit = scope_to_list(scope) or None, self.client.scopes
        if asked is None:
            return " ".join(limit or ())
        return " ".join(asked) if within(asked, limit) else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Tell whether people may be sent there."""
        return clients.may_return_to(self.client, redirect_uri)

    def check_client_secret(self, client_secret: str) -> bool:
        """Tell whether this is its secret."""
        return clients.is_secret_of(self.client, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Tell whether it may show in this way that it is itself."""
        if method == "none":
            return self.client.is_public
        if method == SignedAssertion.CLIENT_AUTH_METHOD:
            return bool(self.client.jwks or self.client.jwks_url)
        return self.client.secret_hash is not None

    def check_response_type(self, response_type: str) -> bool:
        """Tell whether people can allow it anything."""
        return bool(self.client.redirect_uris)

    def check_grant_type(self, grant_type: str) -> bool:
        """Tell whether it may get tokens in this way."""
        if grant_type == ClientCredentialsGrant.GRANT_TYPE:
            return self.client.service_user_id is not None
        return bool(self.client.redirect_uris)


class AuthorizationServer(FlaskAuthorizationServer):
    """Authlib's server, on this tool's sessions and requests."""

    def query_client(self, client_id: str) -> Program | None:
        """Find a program."""
        with database().snapshot() as session:
            client = clients.find_client(session, client_id)
        return Program(client) if client else None

    def authenticate_client(
        self, asked: OAuth2Request, methods: Sequence[str], endpoint: str = "token"
    ) -> Program:
        """Return the program that asks. Raises `InvalidClientError`, in words where Authlib would list its methods."""
        try:
            return cast(Program, super().authenticate_client(asked, methods, endpoint))
        except InvalidClientError as error:
            if "client_assertion" in asked.form:
                raise
            raise InvalidClientError(description="The client id or its secret is wrong.") from error

    def create_oauth2_request(self, parameters: MultiDict[str, str] | OAuth2Request) -> OAuth2Request:
        """Return the request as Authlib knows one."""
        return parameters if isinstance(parameters, OAuth2Request) else ReadRequest(parameters)

    def validate_requested_scope(self, scope: str | None) -> None:
        """Raise `InvalidScopeError` for a scope that no endpoint has."""
        try:
            parse_scopes(scope)
        except UnknownScopeError as error:
            raise InvalidScopeError from error

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Authlib calls it
        """Tell nobody: nobody listens."""

    def handle_error_response(self, asked: OAuth2Request | None, error: OAuth2Error) -> Response:
        """Answer an error; to a program that did not show who it is with 401, as Canvas does."""
        response: Response = super().handle_error_response(asked, error)
        if error.error == "invalid_client":
            response.status_code = HTTPStatus.UNAUTHORIZED
            response.headers["WWW-Authenticate"] = 'Basic realm="canvas-lms"'
        return response


def make_server(app: Flask) -> AuthorizationServer:
    """Return Authlib's server with the ways in which tokens are given out here."""
    server = AuthorizationServer(app)
    server.register_client_auth_method(SignedAssertion.CLIENT_AUTH_METHOD, SignedAssertion())
    server.register_grant(AuthorizationCodeGrant, [Pkce(required=True)])
    server.register_grant(ClientCredentialsGrant)
    server.register_grant(RefreshTokenGrant)
    return server
