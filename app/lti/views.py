"""The addresses that a platform calls: login, launch, keys, and the configuration that it reads."""

from collections.abc import Mapping
from typing import Any, cast

from flask import (
    Blueprint,
    Response,
    current_app,
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

from app.database import database
from app.identity import RIGHTS, Right
from app.lti import tool
from app.lti.addresses import origin_of
from app.lti.canvas import developer_key
from app.lti.claims import MessageType
from app.lti.key_sets import KeySets
from app.lti.keys import KeyRing
from app.lti.launch import Answer, Opened, receive_launch
from app.lti.login import (
    STORAGE_TARGET,
    cookie_name,
    drop_login_cookie,
    pending_login,
    set_login_cookie,
    start_login,
)
from app.lti.models import Platform
from app.lti.refusals import (
    AnotherBrowserError,
    OpenedByHandError,
    PlatformDeclinedError,
    UnreadableTokenError,
)
from app.lti.registration.platforms import private_key_files
from app.lti.services.owed import Owed
from app.lti.sessions import hand_cookie_to
from app.web import current_settings

blueprint = Blueprint("lti", __name__)

MAX_POST_BYTES = 256 * 1024
_TOO_LARGE = _l("The platform posted more than a launch may hold.")
_MISSING = _l("The platform must post a state and an id_token; one of them is missing.")
_SEVERAL = _l("The platform must post one state and one id_token; one of them came several times.")


@blueprint.before_request
def _limit_size() -> None:
    request.max_content_length = MAX_POST_BYTES
    if (request.content_length or 0) > MAX_POST_BYTES:
        raise UnreadableTokenError(_TOO_LARGE, log=f"a form of {request.content_length} bytes")


@blueprint.route(tool.LOGIN_PATH, methods=["GET", "POST"])
def login() -> BaseResponse:
    """Third-party initiated login (LTI Security Framework 1.1, section 5.1.1.1).

    Where the platform offers storage, a small page leaves the secret there too before it goes on.
    """
    with database().statements() as db:
        started = start_login(
            db,
            request.values.to_dict(),
            current_settings().app_url,
            auto_approve=current_settings().auto_approve_deployments,
        )
    if STORAGE_TARGET not in started.request:
        response = redirect(started.authorization_url)
    else:
        response = make_response(
            render_template(
                "lti/login.html",
                started=started,
                key=cookie_name(started.state),
                storage_target=started.request[STORAGE_TARGET],
                platform_origin=origin_of(started.authorization_url),
                again=_without_storage(started.request),
            )
        )
    set_login_cookie(cast(Response, response), started)
    return response


@blueprint.get(tool.LOGIN_PATH + "/<state>/cookie")
def cookie_kept(state: str) -> tuple[str, int]:
    """Tell the login page whether its cookie came back."""
    return "", 204 if cookie_name(state) in request.cookies else 404


@blueprint.post(tool.LAUNCH_PATH)
@blueprint.post(tool.DEEP_LINK_PATH, endpoint="launch_to_deep_link")
def launch() -> BaseResponse | tuple[str, int]:
    """Receive an id_token (LTI Core 1.3, section 5) and open the tool on it."""
    if "error" in request.form:
        raise PlatformDeclinedError(log=f"the platform answered {request.form['error']!r:.200}")
    state, id_token = _only(request.form, "state"), _only(request.form, "id_token")
    cookie = request.cookies.get(cookie_name(state))
    secret = cookie or _secret_from_storage()
    if not secret:
        return _find_secret(state, id_token)
    opened = receive_launch(
        database(),
        cast(KeySets, current_app.extensions["key_sets"]),
        Answer(state, id_token, secret, keeps_cookies=cookie is not None),
        current_settings().app_url,
        auto_approve=current_settings().auto_approve_deployments,
    )
    if opened.launch.line_item_id is not None:
        cast(Owed, current_app.extensions["owed"]).wake()
    response = redirect(_first_page(opened), code=303)
    if cookie is not None:
        hand_cookie_to(opened.launch)
        drop_login_cookie(cast(Response, response), state)
    return response


@blueprint.get(tool.LAUNCH_PATH)
@blueprint.get(tool.DEEP_LINK_PATH, endpoint="deep_link_by_hand")
def launch_by_hand() -> Response:
    """Tell someone who came to the launch address by hand where to begin."""
    raise OpenedByHandError(log="GET instead of POST")


@blueprint.get(tool.KEY_SET_PATH)
def key_set() -> Response:
    """The tool's public keys."""
    key_ring = cast(KeyRing, current_app.extensions["key_ring"])
    with database().snapshot() as db:
        own_files = private_key_files(db)
    return jsonify(key_ring.public_key_set(own_files))


@blueprint.get("/lti/config.json")
def canvas_configuration() -> Response:
    """The Canvas developer key's JSON, made for this host."""
    return jsonify(developer_key(current_settings().app_url))


def _first_page(opened: Opened) -> str:
    """Return the address of what the launch asks for."""
    claims, target = opened.claims, opened.claims.target
    if claims.message_type is MessageType.DEEP_LINKING:
        return url_for("deep_linking.choose", launch_id=opened.path_id)
    asked: dict[str, Any] = {
        "experience": target.experience_id,
        "conversation": target.conversation_id,
        "line_item": claims.services.line_item_url if claims.review_of else None,
        "person": claims.review_of,
    }
    if not any(asked.values()):
        writes = Right.WRITE_EXPERIENCES in RIGHTS[claims.visit.role]
        return url_for("experiences.index" if writes else "conversations.shelf", launch_id=opened.path_id)
    return url_for("opening.open_target", launch_id=opened.path_id, **asked)


def _secret_from_storage() -> str | None:
    """Return the secret that this tool's own page found in the platform's storage. Another site's form has none."""
    own = request.headers.get("Origin") == current_settings().app_url
    return request.form.get("secret") if own else None


def _find_secret(state: str, id_token: str) -> tuple[str, int]:
    """Ask the platform's storage for the secret that no cookie brought back, or offer a tab of its own."""
    with database().snapshot() as db:
        login = pending_login(db, state)
        platform = db.get_one(Platform, login.platform_id)
    again = _without_storage(login.request)
    if STORAGE_TARGET not in login.request:
        framed = request.headers.get("Sec-Fetch-Dest") != "document"
        raise AnotherBrowserError(log="no login cookie for this state", again=again if framed else None)
    page = render_template(
        "lti/find_secret.html",
        state=state,
        id_token=id_token,
        key=cookie_name(state),
        storage_target=login.request[STORAGE_TARGET],
        platform_origin=origin_of(platform.auth_login_url),
        again=again,
    )
    return page, 401


def _without_storage(login_request: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in login_request.items() if name != STORAGE_TARGET}


def _only(form: MultiDict[str, str], name: str) -> str:
    values = form.getlist(name)
    if len(values) != 1:
        raise UnreadableTokenError(_SEVERAL if values else _MISSING, log=f"{name} came {len(values)} times")
    return values[0]
