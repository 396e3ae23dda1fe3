"""The addresses under `/login/oauth2`: where programs get tokens, and where people allow them to."""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import cast
from urllib.parse import urlencode, urlsplit

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError, UnsupportedResponseTypeError
from authlib.oauth2.rfc6749.grants import AuthorizationEndpointMixin
from authlib.oauth2.rfc6749.util import extract_basic_authorization
from flask import (
    Blueprint,
    Response,
    current_app,
    g,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_babel import lazy_gettext as _l
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as BaseResponse

from app.api.answers import json_response
from app.api.caller import token_sent
from app.api.errors import UnauthenticatedError
from app.api.oauth import sign_ins, tokens
from app.api.oauth.admission import is_admitted
from app.api.oauth.models import OAuthClient
from app.api.oauth.scopes import all_groups, groups_of
from app.api.oauth.server import AuthorizationServer
from app.api.oauth.sign_ins import SignedIn
from app.database import database, request_session
from app.errors import BadRequestError
from app.lti.addresses import host_of
from app.settings import is_loopback
from app.web import current_settings, stand_alone

PATH = "/login/oauth2"
COOKIE = "sign_in"
# What Authlib repeats in its descriptions, which hold no other characters (RFC 6749, section 4.1.2.1).
_REPEATED = ("client_id", "redirect_uri", "response_type", "scope", "code_challenge", "code_challenge_method")

blueprint = Blueprint("oauth", __name__, url_prefix=PATH)


class ProgramRefusedError(BadRequestError):
    """A program that asks in a way that cannot be answered, and cannot safely be told so either."""

    code = "program_refused"
    title = _l("This program cannot be let in")
    message = _l(
        "The program that sent you here is not known to the tool, or did not ask as it should. Tell whoever made it:"
    )
    template = "oauth/refused.html"

    def __init__(self, reason: str) -> None:
        super().__init__(log=f"authorization request: {reason}")
        self.reason = reason


class TicketError(BadRequestError):
    """A ticket that was used, or is too old."""

    code = "ticket_over"
    title = _l("That button works once")
    message = _l("Go back to your course, reload the page of AI Experiences, and choose the button again.")


@blueprint.after_request
def _show_in_no_frame(response: Response) -> Response:
    return response if "Content-Security-Policy" in response.headers else stand_alone(response)


@blueprint.post("/token")
def give_token() -> Response:
    """Give a token to a program (RFC 6749, section 3.2)."""
    try:
        return cast(Response, _server().create_token_response(_read_body()))
    except OAuth2Error as error:
        return _server().handle_error_response(None, error)


@blueprint.delete("/token")
def revoke_token() -> Response:
    """Revoke the token that the request carries, as Canvas does."""
    token = tokens.find_by_secret(request_session(), token_sent())
    if token is None:
        raise UnauthenticatedError(log="token unknown, revoked or expired")
    tokens.revoke(token)
    return json_response({})


@blueprint.get("/auth")
def ask() -> BaseResponse:
    """Ask the person whom a program sent here whether it may act for them (RFC 6749, section 4.1.1)."""
    return _consent(None)


@blueprint.post("/auth")
def decide() -> BaseResponse:
    """Take the person's answer, and send them back to the program with it."""
    return _consent(request.form.get("decision"))


@blueprint.post("/sign-in")
def sign_in() -> BaseResponse:
    """Sign somebody in by the ticket on a page of their launch; another site's form brings in nobody."""
    if request.headers.get("Origin") != current_settings().app_url:
        raise TicketError(log="a ticket from another site")
    cookie = sign_ins.use_ticket(request_session(), _secret_key(), request.form.get("ticket", ""))
    if cookie is None:
        raise TicketError(log="a ticket that is used, too old or not ours")
    response = redirect(url_for(".signed_in"), code=303)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=sign_ins.LIFETIME,
        path=PATH,
        secure=True,
        httponly=True,
        samesite="Lax",
    )
    return response


@blueprint.get("/sign-in")
def signed_in() -> str:
    """Say who is signed in, and where to go on."""
    return render_template("oauth/signed_in.html", signed_in=_who(), minutes=_minutes())


@blueprint.get("/sign-in/state")
def sign_in_state() -> Response:
    """Tell a page that waits whether somebody has signed in meanwhile."""
    who = _who()
    return jsonify(signed_in=who.key if who else None)


def _consent(decision: str | None) -> BaseResponse:
    who = _who()
    try:
        grant = _server().get_consent_grant(_read_query(), end_user=who)
        client: OAuthClient = grant.client.client
        if who is None or not _may_allow(who, client):
            again = _same_request()
            return make_response(
                render_template("oauth/sign_in.html", client=client, signed_in=who, again=again)
            )
        if decision is None:
            return _ask(grant, who)
        return _take(decision, grant, who)
    except OAuth2Error as error:
        return _refuse(error)


def _may_allow(who: SignedIn, client: OAuthClient) -> bool:
    """Tell whether somebody is of the program's platform (and deployment, if it has one) and in a course there."""
    if who.user.platform_id != client.platform_id or client.deployment_id not in {None, who.deployment_id}:
        return False
    with database().snapshot() as session:
        return is_admitted(session, who.user.id, who.deployment_id)


def _ask(grant: AuthorizationEndpointMixin, who: SignedIn) -> Response:
    scopes, back = grant.request.scope.split(), urlsplit(grant.redirect_uri)
    page = make_response(
        render_template(
            "oauth/consent.html",
            client=grant.client.client,
            signed_in=who,
            host=host_of(back.geturl()) or back.scheme,
            stays_here=is_loopback(back.hostname or ""),
            purpose=request.args.get("purpose"),
            groups=groups_of(scopes) if scopes else all_groups(),
            limited=bool(scopes),
            proof=_proof(),
        )
    )
    # Chromium holds form-action against the redirect to the program too, and against where that leads.
    return stand_alone(page, form_action=f"'self' https: {back.scheme}:")


def _take(decision: str, grant: AuthorizationEndpointMixin, who: SignedIn) -> BaseResponse:
    """Do what was decided; ask again where the answer is not from a page of this very signing in."""
    if not hmac.compare_digest(request.form.get("proof", "").encode(), _proof().encode()):
        return redirect(_same_request(), code=303)
    if decision == "leave":
        sign_ins.sign_out(request_session(), request.cookies[COOKIE])
        return redirect(_same_request(), code=303)
    response = _server().create_authorization_response(
        grant.request, grant_user=who if decision == "allow" else None, grant=grant
    )
    response.status_code = HTTPStatus.SEE_OTHER
    return cast(Response, response)


def _refuse(error: OAuth2Error) -> BaseResponse:
    """Tell the program what is wrong, where it is sure whose it is; otherwise the person."""
    if not error.redirect_uri:
        raise ProgramRefusedError(f"{error.error}: {_what_is_wrong(error)}") from error
    response = _server().handle_error_response(None, error)
    response.status_code = HTTPStatus.SEE_OTHER
    return response


def _what_is_wrong(error: OAuth2Error) -> str:
    if isinstance(error, UnsupportedResponseTypeError):
        return "The 'response_type' must be 'code'."
    return cast(str, error.get_error_description())


def _same_request() -> str:
    """Return the address of this very request, to come back to by a link."""
    return f"{url_for('.ask')}?{urlencode(request.args.to_dict(flat=False), doseq=True)}"


def _who() -> SignedIn | None:
    """Return who is signed in in this browser, whose language its pages then have."""
    with database().snapshot() as session:
        who = sign_ins.who_is_signed_in(session, request.cookies.get(COOKIE, ""))
    g.locale = who.locale if who else None
    return who


def _proof() -> str:
    """Return what only the pages of this browser's signing in know."""
    return hmac.new(request.cookies.get(COOKIE, "").encode(), b"consent", sha256).hexdigest()


def _read_query() -> MultiDict[str, str]:
    for name in _REPEATED:
        value = request.args.get(name, "")
        if not (value.isascii() and value.isprintable()) or '"' in value or "\\" in value:
            raise InvalidRequestError(f"The '{name}' has characters that it cannot have.")
    return request.args


def _read_body() -> MultiDict[str, str]:
    """Return the parameters of a body, form or JSON, each once (RFC 6749, section 3.2)."""
    _require_readable_header()
    body = _from_json(_read_json()) if request.is_json else request.form
    for _name, values in body.lists():
        if len(values) > 1 or not values[0].isprintable():
            raise InvalidRequestError(
                "A parameter came more than once, or has characters that it cannot have."
            )
    if not body.get("grant_type"):
        raise InvalidRequestError("Missing 'grant_type'.")
    return body


def _require_readable_header() -> None:
    """Refuse what Authlib, which reads it later in the same way, would stumble over."""
    try:
        extract_basic_authorization(request.headers)
    except ValueError as error:
        raise InvalidClientError("The Authorization header cannot be read.") from error


def _read_json() -> object:
    try:
        return request.get_json(silent=True)
    except RecursionError:
        return None


def _from_json(content: object) -> MultiDict[str, str]:
    if not isinstance(content, Mapping) or not all(
        isinstance(value, str | int) for value in content.values()
    ):
        raise InvalidRequestError("The body must be a JSON object of texts.")
    return MultiDict({name: str(value) for name, value in content.items()})


def _minutes() -> int:
    return int(sign_ins.LIFETIME.total_seconds()) // 60


def _secret_key() -> str:
    return cast(str, current_app.secret_key)


def _server() -> AuthorizationServer:
    return cast(AuthorizationServer, current_app.extensions["authorization_server"])
