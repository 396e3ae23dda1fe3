"""The platform's side of a launch: its keys, and the authorization of a launch."""

from collections.abc import Mapping

from flask import Blueprint, Response, current_app, jsonify, render_template, request

from app.sandbox.claims import Launch
from app.sandbox.config import STORAGE_FRAME, Storage
from app.sandbox.errors import OAuthError
from app.sandbox.platform import Sandbox, sandbox_of

oidc = Blueprint("oidc", __name__)

REQUIRED_PARAMETERS: Mapping[str, str] = {
    "scope": "openid",
    "response_type": "id_token",
    "response_mode": "form_post",
    "prompt": "none",
}


@oidc.get("/api/lti/security/jwks")
def key_set() -> Response:
    """The public keys of launches."""
    answer = jsonify(sandbox_of(current_app).keys.key_set())
    answer.cache_control.max_age = 60
    return answer


@oidc.route("/api/lti/authorize_redirect", methods=["GET", "POST"])
def authorize() -> tuple[str, int]:
    """Have a launch authorized: post an id token to the tool, or say why not."""
    sandbox = sandbox_of(current_app)
    parameters = request.values.to_dict()
    try:
        redirect_uri = _checked_client(parameters, sandbox)
    except OAuthError as error:
        return render_template("sandbox/refused.html", error=error), error.status
    try:
        fields = _id_token_fields(parameters, sandbox)
    except OAuthError as error:
        fields = {"error": error.error, "error_description": error.description}
    fields["state"] = parameters.get("state", "")
    return render_template("sandbox/form_post.html", action=redirect_uri, fields=fields), 200


def _checked_client(parameters: Mapping[str, str], sandbox: Sandbox) -> str:
    """Until client and redirect address are known to be right, nothing may be posted anywhere."""
    try:
        tool = sandbox.tools.find(parameters.get("client_id", ""))
    except LookupError as error:
        raise OAuthError("invalid_client", "The client_id is not registered here.", status=401) from error
    redirect_uri = parameters.get("redirect_uri", "")
    if redirect_uri not in tool.redirect_uris:
        raise OAuthError("invalid_request", "The redirect_uri is not one of the tool's registered addresses.")
    return redirect_uri


def _id_token_fields(parameters: Mapping[str, str], sandbox: Sandbox) -> dict[str, str]:
    _check_parameters(parameters)
    launch, storage = _launch(parameters, sandbox)
    claims = sandbox.claims_of(launch, nonce=parameters["nonce"])
    offered = {} if storage is Storage.OFF else {"lti_storage_target": STORAGE_FRAME}
    return {"id_token": sandbox.sign(claims), **offered}


def _check_parameters(parameters: Mapping[str, str]) -> None:
    for name, value in REQUIRED_PARAMETERS.items():
        if value not in parameters.get(name, "").split():
            raise OAuthError("invalid_request", f"{name} must be {value}")
    for name in ("nonce", "login_hint", "lti_message_hint"):
        if not parameters.get(name):
            raise OAuthError("invalid_request", f"{name} is missing")


def _launch(parameters: Mapping[str, str], sandbox: Sandbox) -> tuple[Launch, Storage]:
    launch, storage = sandbox.read_hint(parameters["lti_message_hint"])
    if sandbox.tools.find(launch.client_id).client_id != parameters["client_id"]:
        raise OAuthError("unauthorized_client", "The client_id is another tool's than the one opened.")
    if launch.person.lti11_id != parameters["login_hint"]:
        raise OAuthError(
            "login_required", "The login_hint names somebody else than the one who opened the tool."
        )
    if not sandbox.directory.may_enter(launch.person, launch.course):
        raise OAuthError("access_denied", "The person has no access to this course.")
    return launch, storage
