"""Programs that show who they are by a signed assertion, `private_key_jwt` (RFC 7523, section 2.2)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidClientError, OAuth2Request
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import current_app
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from app.api.oauth.clients import public_keys
from app.api.oauth.models import ClientAssertion, OAuthClient
from app.database import insert_into, request_session
from app.lti.key_sets import KeySetError, KeySets
from app.lti.models import RegistrationSource
from app.secret import hash_of
from app.web import current_settings

TOKEN_PATH = "/login/oauth2/token"  # noqa: S105 - an address
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
MAX_SECONDS = 3600
LEEWAY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class _KeyHolder:
    """Whose keys are fetched. An administrator wrote the address down, as with a platform's."""

    key_set_url: str
    source: RegistrationSource = RegistrationSource.COMMAND


class SignedAssertion(JWTBearerClientAssertion):
    """Checks an assertion: signed with one of the program's keys, meant for this tool, short-lived, and used once."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self) -> None:
        super().__init__(leeway=LEEWAY_SECONDS)

    def __call__(self, query_client: Any, request: OAuth2Request) -> Any:  # noqa: ANN401 - as Authlib calls it
        """Return the program that an assertion is of; None without one. Raises `InvalidClientError`."""
        try:
            program = super().__call__(query_client, request)
        except OAuth2Error:
            raise
        except (JoseError, KeySetError, ValueError, TypeError, LookupError, RecursionError) as error:
            raise InvalidClientError(description="The client_assertion cannot be used.") from error
        named = request.form.get("client_id")
        if program is not None and named and named != program.get_client_id():
            raise InvalidClientError(description="The client_id is not the client_assertion's.")
        return program

    def get_audiences(self) -> list[str]:
        """Return the one address that an assertion may be meant for."""
        return [current_settings().app_url + TOKEN_PATH]

    def resolve_client_public_key(self, program: Any) -> Callable[[Any], KeySet]:  # noqa: ANN401 - as Authlib calls it
        """Return what finds the program's keys for a signed message."""
        return partial(_keys_for, program.client)

    def process_assertion_claims(self, assertion: str, find_keys: Callable[[Any], KeySet]) -> dict[str, Any]:
        """Check signature and claims, and return the claims."""
        claims = jwt.decode(assertion, find_keys, algorithms=ALGORITHMS).claims
        self.verify_claims(claims)
        return claims

    def verify_claims(self, claims: dict[str, Any]) -> None:
        """Raise `InvalidClientError` for an assertion that is another's, over, too long-lived or used before."""
        ends = claims.get("exp")
        if isinstance(ends, int | float) and ends > time.time() + MAX_SECONDS + LEEWAY_SECONDS:
            raise InvalidClientError(description="The client_assertion lasts for more than an hour.")
        super().verify_claims(claims)

    def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
        """Note that an assertion is used; False for one that was used before."""
        session = request_session()
        used = ClientAssertion(
            jti_hash=hash_of(f"{claims['sub']} {jti}"),
            expires_at=datetime.fromtimestamp(claims["exp"] + LEEWAY_SECONDS, UTC),
        )
        written = session.execute(
            insert_into(session, ClientAssertion)
            .values(used.model_dump())
            .on_conflict_do_nothing()
            .returning(ClientAssertion.jti_hash)
        )
        return written.first() is not None


def _keys_for(client: OAuthClient, signed: Any) -> KeySet:  # noqa: ANN401 - joserfc's message, of whichever kind
    """Return a program's public keys, fetched where they are kept elsewhere. Raises `KeySetError` or `JoseError`."""
    key_set = client.jwks or {}
    if client.jwks_url is not None:
        key_sets = cast(KeySets, current_app.extensions["key_sets"])
        key_set = key_sets.get(_KeyHolder(client.jwks_url), signed.headers().get("kid", ""))
    return KeySet.import_key_set({"keys": public_keys(key_set)})
