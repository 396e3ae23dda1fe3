"""A platform that we did not write: lti1p3platform behind HTTP, plain LTI Advantage with Moodle's addresses and habits.

Nothing of Canvas: no custom variables, numbers as ids, line item addresses that carry a query. It also checks what the
specifications ask of a tool and lti1p3platform leaves open, so that a tool that passes here keeps to them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
from bs4 import BeautifulSoup
from flask import Flask, Response, abort, jsonify, redirect, render_template_string, request
from flask.testing import FlaskClient
from jwcrypto.jwk import JWK
from lti1p3platform import exceptions
from lti1p3platform.ltiplatform import LTI1P3PlatformConfAbstract
from lti1p3platform.membership import Context
from lti1p3platform.message_launch import LTIAdvantageMessageLaunchAbstract
from lti1p3platform.oidc_login import OIDCLoginAbstract
from lti1p3platform.registration import Registration
from lti1p3platform.request import Request
from lti1p3platform.response import Response as ServiceResponse
from lti1p3platform.response import generate_next_link
from lti1p3platform.score import ActivityProgress, GradeProgress, UpdateScoreStatus
from lti1p3platform.service_connector import AssignmentsGradesService, NamesRoleProvisioningService
from werkzeug.exceptions import HTTPException
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from app.sandbox.factory import QuietHandler

CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
DEEP_LINKING = "https://purl.imsglobal.org/spec/lti-dl/claim/"
AGS_SCOPE = "https://purl.imsglobal.org/spec/lti-ags/scope/"
MEMBERSHIP = "http://purl.imsglobal.org/vocab/lis/v2/membership#"
MEMBERS_TYPE = "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"
LINE_ITEM_TYPE = "application/vnd.ims.lis.v2.lineitem+json"
SCORE_TYPE = "application/vnd.ims.lis.v1.score+json"
COURSE = Context(id="2", label="BIO101", title="Cells & tissues")
COURSE_LINK = "1"
CHOICE = ""
"""In a link's place: the choice of content (Deep Linking 2.0)."""
OPAQUE = {"course": COURSE.id}
MEMBERS_PER_PAGE = 2
MEMBERS_PATH = f"/mod/lti/services.php/CourseSection/{COURSE.id}/bindings/1/memberships"
LINE_ITEMS_PATH = f"/mod/lti/services.php/{COURSE.id}/lineitems"
LINE_ITEM_PATH = "/<line_item_id>/lineitem"
GRADE_SERVICES = (
    ("GET", "", "handle_get_lineitems", ["lineitem", "lineitem.readonly"]),
    ("POST", "", "handle_create_lineitem", ["lineitem"]),
    ("GET", LINE_ITEM_PATH, "handle_get_lineitem", ["lineitem", "lineitem.readonly"]),
    ("POST", LINE_ITEM_PATH + "/scores", "handle_update_score", ["score"]),
)
FORM = """<form method="post" action="{{ launch_url }}">
<input name="id_token" value="{{ id_token }}"><input name="state" value="{{ state }}"></form>"""


@dataclass(frozen=True)
class Member:
    id: str
    name: str
    role: str = "Learner"


TEACHER = Member("2", "Noor Haddad", "Instructor")
STUDENT = Member("3", "Inés Álvarez")
CLASS = (TEACHER, STUDENT, Member("4", "Jun Park"), Member("5", "Ola Berg"), Member("6", "Zoe Roy"))
MEMBERS = {member.id: member for member in CLASS}


class ForeignPlatform:
    """The platform's state, and a browser's way from it into the tool."""

    def __init__(self, url: str, tool_url: str) -> None:
        self.url, self.launch_url, self.token_url = url, f"{tool_url}/lti/launch", f"{url}/mod/lti/token.php"
        key = JWK.generate(kty="RSA", size=2048)
        self.registration = (
            Registration()
            .set_iss(url)
            .set_client_id("q3Zs9LkTw2VbN8x")
            .set_deployment_id("1")
            .set_launch_url(self.launch_url)
            .set_deeplink_launch_url(self.launch_url)
            .set_oidc_login_url(f"{tool_url}/lti/login")
            .set_tool_key_set_url(f"{tool_url}/lti/jwks.json")
            .set_platform_private_key(key.export_to_pem(private_key=True, password=None).decode())
            .set_platform_public_key(key.export_to_pem().decode())
        )
        self.links: dict[str, dict[str, Any]] = {COURSE_LINK: {"title": "Practice"}}
        self.line_items: dict[str, dict[str, Any]] = {}
        self.scores: dict[tuple[str, str], dict[str, Any]] = {}
        """The last score of each line item and user."""
        self.used_once: set[str] = set()

    @property
    def entry(self) -> dict[str, Any]:
        """The platform as the tool registers it: an entry of `tool_config.json`."""
        return {
            "client_id": self.registration.get_client_id(),
            "auth_login_url": f"{self.url}/mod/lti/auth.php",
            "auth_token_url": self.token_url,
            "key_set_url": f"{self.url}/mod/lti/certs.php",
            "deployment_ids": ["1"],
        }

    def login_url(self, member: Member, link: str = COURSE_LINK) -> str:
        """Where the platform sends a browser that opens a link, or the choice of content."""
        begin = f"{self.url}/mod/lti/launch.php"
        answer = requests.get(begin, {"user": member.id, "link": link}, timeout=5, allow_redirects=False)
        return answer.headers["Location"]

    def launch(self, browser: FlaskClient, member: Member, link: str = COURSE_LINK) -> TestResponse:
        """Open a link, or the choice of content, and return the tool's answer to the id_token."""
        answer = requests.get(browser.get(self.login_url(member, link)).location, timeout=5)
        assert answer.ok, answer.text
        action, fields = read_form(answer.text)
        return browser.post(action, data=fields)

    def add_link(self, item: dict[str, Any]) -> str:
        """Keep a content item, with the line item that it asks for (Deep Linking 2.0, section 3.2)."""
        link = str(len(self.links) + 1)
        self.links[link] = item
        if "lineItem" in item:
            self.add_line_item({"label": item["title"], **item["lineItem"], "resourceLinkId": link})
        return link

    def add_line_item(self, fields: dict[str, Any]) -> dict[str, Any]:
        if not fields.get("label") or not fields.get("scoreMaximum", 0) > 0:
            raise exceptions.LtiServiceException("label and a positive scoreMaximum are required", 400)
        item_id = str(len(self.line_items) + 1)
        self.line_items[item_id] = {**fields, "id": self.line_items_url(f"/{item_id}/lineitem")}
        return self.line_items[item_id]

    def line_items_url(self, path: str = "") -> str:
        return f"{self.url}{LINE_ITEMS_PATH}{path}?type_id=1"

    def line_item_url(self, link: str) -> str | None:
        """The line item that a launch names: that of a link with one alone (AGS 2.0, section 3.1)."""
        urls = [item["id"] for item in self.line_items.values() if item.get("resourceLinkId") == link]
        return urls[0] if len(urls) == 1 else None


def read_form(page: str) -> tuple[str, dict[str, str]]:
    """Return the action and the fields of a page that sends its form by itself."""
    form = BeautifulSoup(page, "html.parser").form
    assert form, page
    return str(form["action"]), {str(field["name"]): str(field["value"]) for field in form.select("[name]")}


class FlaskRequest(Request):
    def build_metadata(self, request: Any) -> Any:
        return {
            "method": request.method,
            "form_data": request.form.to_dict(),
            # lti1p3platform adds one to the page, which arrives as text.
            "get_data": {k: int(v) if k in {"page", "limit"} else v for k, v in request.args.items()},
            "headers": request.headers,
            "json": request.get_json(force=True, silent=True),
        }


class Config(LTI1P3PlatformConfAbstract):
    """One request's: lti1p3platform keeps the token that it reads in its configuration."""

    def init_platform_config(self, *, platform: ForeignPlatform) -> None:
        self.platform, self._registration = platform, platform.registration
        self._jwt_verify_options = {"verify_aud": False, "require": ["iss", "aud", "exp", "iat"]}
        self.set_accepted_deeplinking_types(["ltiResourceLink"])

    def get_registration_by_params(self, **_kwargs: Any) -> Registration:
        return self.platform.registration

    def tool_validate_and_decode(self, jwt_token_string: str) -> dict[str, Any]:
        # lti1p3platform leaves open who speaks to whom, and whether again (Security Framework 1.0, 4.1.1 and 5.2).
        claims = super().tool_validate_and_decode(jwt_token_string)
        audience = {claims["aud"]} if isinstance(claims["aud"], str) else set(claims["aud"])
        once = claims.get("jti") or claims.get("nonce")
        if claims["iss"] != self.platform.registration.get_client_id():
            raise exceptions.LtiException("iss is not the client id")
        if not audience & {self.platform.url, self.platform.token_url}:
            raise exceptions.LtiException("aud is another's")
        if not once or once in self.platform.used_once:
            raise exceptions.LtiException("jti or nonce missing or used before")
        self.platform.used_once.add(once)
        return claims

    def validate_deeplinking_resp(self, token_request_data: dict[str, Any]) -> list[dict[str, Any]]:
        # lti1p3platform does not look at what else is required (Deep Linking 2.0, section 4.5).
        items = super().validate_deeplinking_resp(token_request_data)
        required = {
            CLAIM + "version": "1.3.0",
            CLAIM + "deployment_id": "1",
            DEEP_LINKING + "data": OPAQUE,
        }
        if not required.items() <= self._jwt["body"].items():
            raise exceptions.LtiDeepLinkingResponseException(f"{self._jwt['body']} does not hold {required}")
        return items

    def validate_token(
        self, token: str, allowed_scopes: list[str] | None = None, audience: str | None = None
    ) -> bool:
        # lti1p3platform raises what no service of it turns into a 401.
        try:
            return super().validate_token(token, allowed_scopes, audience)
        except (jwt.InvalidTokenError, exceptions.LtiException):
            return False


class Login(OIDCLoginAbstract):
    def set_lti_message_hint(self, **kwargs: Any) -> None:
        self._lti_message_hint = json.dumps(kwargs)

    def get_redirect(self, url: str) -> Any:
        return redirect(url)


class Message(LTIAdvantageMessageLaunchAbstract):
    """The launch or deep linking request that a login's hint names."""

    def validate_preflight_response(self, preflight_response: dict[str, Any]) -> None:
        super().validate_preflight_response(preflight_response)
        # lti1p3platform posts the id_token to any address that is asked (Security Framework 1.0, 5.1.1.2).
        required = {
            "scope": "openid",
            "response_type": "id_token",
            "response_mode": "form_post",
            "prompt": "none",
            "redirect_uri": self._registration.get_launch_url(),
        }
        if not required.items() <= preflight_response.items():
            raise exceptions.PreflightRequestValidationException(preflight_response)

    def prepare_launch(self, preflight_response: dict[str, Any]) -> None:
        platform: ForeignPlatform = self._platform_config.platform
        member = MEMBERS[preflight_response["login_hint"]]
        link = json.loads(preflight_response["lti_message_hint"])["link"]
        self.set_user_data(member.id, [MEMBERSHIP + member.role], member.name)
        self.set_launch_context_claim(COURSE.id, ["CourseSection"], COURSE.title, COURSE.label)
        self.set_launch_presentation_claim("iframe", f"{platform.url}/mod/lti/return.php")
        about = {"guid": "moodle.example", "product_family_code": "moodle", "version": "2025041400"}
        self.set_extra_claims({CLAIM + "tool_platform": about})
        self.set_nrps(platform.url + MEMBERS_PATH)
        self.set_ags(platform.line_items_url(), platform.line_item_url(link))
        if link != CHOICE:
            self.set_launch_url(platform.links[link].get("url"))
            self.set_resource_link_claim(link, title=platform.links[link]["title"])
            self.set_custom_parameters_claim(platform.links[link].get("custom", {}))
            return
        self.set_dl(
            f"{platform.url}/mod/lti/contentitem_return.php",
            accept_types={"ltiResourceLink"},
            extra_data=OPAQUE,
        )
        # Unknown to lti1p3platform: whether line items are taken (Deep Linking 2.0, section 4.4.1).
        self._deep_linking_launch_data[DEEP_LINKING + "deep_linking_settings"]["accept_lineitem"] = True

    def render_launch_form(self, launch_data: dict[str, Any], **_kwargs: Any) -> str:
        return render_template_string(FORM, **launch_data)


class Members(NamesRoleProvisioningService):
    def get_member_data_page(
        self, page: int = 1, limit: int = 0, role: str | None = None, **_query: Any
    ) -> Any:
        """Members with their roles' short forms (NRPS 2.0, section 2.2)."""
        found = [member for member in CLASS if role in {None, member.role}]
        shown = found[(page - 1) * limit : page * limit]
        return {
            "content": [{"user_id": each.id, "name": each.name, "roles": [each.role]} for each in shown],
            "has_next": len(found) > page * limit,
        }

    def get_context_by_id(self) -> Context:
        return COURSE

    def is_resource_link_valid(self, context_id: str, resource_link_id: str) -> bool:
        return resource_link_id in self.platform_config.platform.links


class Grades(AssignmentsGradesService):
    allowed_scopes: Sequence[str] = ()

    def __init__(self, platform: ForeignPlatform, scopes: Sequence[str]) -> None:
        self.platform = platform
        # lti1p3platform lets each scope of the service do everything (AGS 2.0, section 3.2).
        self.allowed_scopes = [AGS_SCOPE + scope for scope in scopes]
        super().__init__(FlaskRequest(request), Config(platform=platform), platform.line_items_url())

    def find_lineitems(self, **query: Any) -> Any:
        names = {"resource_link_id": "resourceLinkId", "resource_id": "resourceId", "tag": "tag"}
        wanted = {names[name]: value for name, value in query.items() if name in names}
        found = [item for item in self.platform.line_items.values() if wanted.items() <= item.items()]
        return {"content": found, "has_next": False}

    def find_lineitem(self, line_item_id: str) -> Any:
        if line_item_id not in self.platform.line_items:
            raise exceptions.LineItemNotFoundException
        return self.platform.line_items[line_item_id]

    def create_lineitem(self, creation_data: Any) -> Any:
        return self.platform.add_line_item(creation_data)

    def update_score(self, line_item_id: str, score: Any) -> UpdateScoreStatus:
        self.find_lineitem(line_item_id)
        moment = _check_score(score)
        last = self.platform.scores.get((line_item_id, score["userId"]))
        if last and moment <= datetime.fromisoformat(last["timestamp"]):
            return UpdateScoreStatus.OLD_TIMESTAMP
        self.platform.scores[line_item_id, score["userId"]] = score
        return UpdateScoreStatus.SUCCESS

    update_lineitem = delete_lineitem = get_results = None  # abstract, and nothing that the tool asks for


def _check_score(score: dict[str, Any]) -> datetime:
    """Hold a score against AGS 2.0, section 3.4, which lti1p3platform leaves to be done; return its time."""
    try:
        ActivityProgress(score["activityProgress"])
        GradeProgress(score["gradingProgress"])
        moment = datetime.fromisoformat(score["timestamp"])
        if moment.tzinfo is None:
            raise ValueError("timestamp without time zone")
        if "scoreGiven" in score and not (score["scoreGiven"] >= 0 and score["scoreMaximum"] > 0):
            raise ValueError("points out of range")
        if MEMBERS[score["userId"]].role != "Learner":
            raise ValueError("not a learner")
    except (KeyError, TypeError, ValueError) as error:
        raise exceptions.LtiServiceException(f"not a score: {error!r}", 400) from error
    return moment


@contextmanager
def serving(app: Flask, url: str) -> Iterator[None]:
    """Serve an application at an address of this machine."""
    port = urlsplit(url).port or 80
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    server.shutdown()
    server.server_close()


def create_platform(platform: ForeignPlatform) -> Flask:
    """The platform as an application."""
    app = Flask(__name__)
    app.register_error_handler(Exception, _refuse)

    @app.get("/mod/lti/launch.php")
    def launch() -> Any:
        login, link = Login(request, Config(platform=platform)), request.args["link"]
        login.set_lti_message_hint(link=link)
        login.set_launch_url(platform.links[link].get("url") if link != CHOICE else platform.launch_url)
        return login.initiate_login(request.args["user"])

    @app.route("/mod/lti/auth.php", methods=["GET", "POST"])
    def authorize() -> Any:
        return Message(FlaskRequest(request), Config(platform=platform)).lti_launch()

    @app.get("/mod/lti/certs.php")
    def key_set() -> Any:
        return jsonify(Config(platform=platform).get_jwks())

    @app.post("/mod/lti/token.php")
    def token() -> Any:
        return jsonify(Config(platform=platform).get_access_token(request.form.to_dict()))

    @app.post("/mod/lti/contentitem_return.php")
    def take_content() -> Any:
        items = Config(platform=platform).validate_deeplinking_resp(request.form.to_dict())
        return jsonify([platform.add_link(item) for item in items])

    @app.get(MEMBERS_PATH)
    def members() -> Any:
        if not request.accept_mimetypes[MEMBERS_TYPE]:
            abort(406)
        adapted = FlaskRequest(request)
        # lti1p3platform pages as the tool asks; a platform may send fewer (NRPS 2.0, section 2.4.1).
        adapted.get_data["limit"] = MEMBERS_PER_PAGE
        service = Members(adapted, Config(platform=platform), platform.url + MEMBERS_PATH)
        return _answer(service.handle_resp(service.handle_get_members))

    def add_grade_service(method: str, path: str, handler: str, scopes: Sequence[str]) -> None:
        def view(**ids: str) -> Any:
            # The query is part of the address: a path put behind it leads nowhere (AGS 2.0, section 3.4).
            if request.args.get("type_id") != "1":
                abort(404)
            if method == "POST" and request.mimetype not in {LINE_ITEM_TYPE, SCORE_TYPE}:
                abort(415)
            service = Grades(platform, scopes)
            return _answer(service.handle_resp(getattr(service, handler), **ids))

        app.add_url_rule(LINE_ITEMS_PATH + path, handler, view, methods=[method])

    for grade_service in GRADE_SERVICES:
        add_grade_service(*grade_service)
    return app


def _answer(response: ServiceResponse) -> Response:
    """Put a service's answer into HTTP: lists bare, the next page as a link."""
    result = response.result or {}
    headers = {"Link": generate_next_link(result.pop("next"))} if "next" in result else {}
    body = result.get("content", result) if response.code < 400 else {"error": response.message}
    return Response(json.dumps(body), response.code, headers, content_type=response.media_type)


def _refuse(error: Exception) -> Any:
    """Answer a message or token request that does not hold (RFC 6749, section 5.2)."""
    if isinstance(error, HTTPException):
        return error
    return {"error": "invalid_request", "error_description": repr(error)}, 400
