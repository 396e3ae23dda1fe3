"""The Advantage services: access tokens, the roster, and grades."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from flask import Blueprint, Response, current_app, g, json, request

from app.sandbox import scopes
from app.sandbox.claims import LTI, Launch, course_url, custom_claim, personal_claims
from app.sandbox.errors import OAuthError, ServiceError
from app.sandbox.gradebook import SUBMISSION_TYPE, LineItem, Result
from app.sandbox.links import ResourceLink
from app.sandbox.messages import read_changed_line_item, read_new_line_item, read_score
from app.sandbox.paging import page_of
from app.sandbox.people import Course, Enrollment, EnrollmentState, Person
from app.sandbox.platform import Sandbox, sandbox_of
from app.sandbox.roles import MEMBERSHIP, membership_roles
from app.sandbox.tokens import AccessToken, check_bearer, grant

services = Blueprint("services", __name__)

MEMBERS_TYPE = "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"
LINE_ITEM_TYPE = "application/vnd.ims.lis.v2.lineitem+json"
LINE_ITEMS_TYPE = "application/vnd.ims.lis.v2.lineitemcontainer+json"
SCORE_TYPE = "application/vnd.ims.lis.v1.score+json"
RESULTS_TYPE = "application/vnd.ims.lis.v2.resultcontainer+json"
RESULT_TYPE = "application/vnd.ims.lis.v2.result+json"

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
Member = tuple[Person, list[Enrollment]]


@services.before_request
def _before_service() -> None:
    if not request.headers.get("User-Agent"):
        raise ServiceError(403, "Requests must have a User-Agent header")


@services.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    body = {"errors": {"type": f"http_{error.status}", "message": error.message}}
    answer = _json(body, "application/json", error.status)
    answer.headers.update(error.headers)
    return answer


@services.errorhandler(OAuthError)
def _oauth_error(error: OAuthError) -> Response:
    body = {"error": error.error, "error_description": error.description}
    return _uncached(_json(body, "application/json", error.status))


def needs(*accepted: str) -> Callable[[Callable[Arguments, Answer]], Callable[Arguments, Answer]]:
    """Let only those in whose token holds one of the scopes."""

    def decorate(view: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
        @wraps(view)
        def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
            header = request.headers.get("Authorization", "")
            g.token = check_bearer(header, accepted, sandbox_of(current_app).tokens)
            return view(*args, **kwargs)

        return guarded

    return decorate


@services.post("/login/oauth2/token")
def token() -> Response:
    """Exchange the tool's signed assertion for an access token."""
    sandbox = sandbox_of(current_app)
    granted = grant(
        request.form.to_dict(),
        config=sandbox.config,
        tools=sandbox.tools,
        store=sandbox.tokens,
        fetch=sandbox.fetch,
    )
    body = {
        "access_token": granted.value,
        "token_type": "Bearer",
        "expires_in": sandbox.config.token_seconds,
        "scope": " ".join(sorted(granted.scopes)),
    }
    return _uncached(_json(body, "application/json"))


@services.get("/api/lti/courses/<int:course_id>/names_and_roles")
@needs(scopes.NRPS)
def roster(course_id: int) -> Response:
    """The members of a course, fifty to a page."""
    sandbox, course = _place(course_id)
    opened = _opened(request.args.get("rlid"), sandbox, course)
    members = _with_role(_members(sandbox, course), request.args.get("role"))
    page, links = _page(members)
    body = {
        "id": sandbox.config.url + request.full_path.rstrip("?"),
        "context": {"id": course.context_id, "label": course.code, "title": course.title},
        "members": [_member(member, opened, sandbox) for member in page],
    }
    return _json(body, MEMBERS_TYPE, links=links)


@services.get("/api/lti/courses/<int:course_id>/line_items")
@needs(scopes.LINE_ITEM, scopes.LINE_ITEM_READONLY)
def line_items(course_id: int) -> Response:
    """The columns of the gradebook, filtered by what the tool calls them."""
    sandbox, course = _place(course_id)
    filters = {
        name: request.args[name]
        for name in ("resource_id", "tag", "resource_link_id")
        if name in request.args
    }
    found = [
        item
        for item in sandbox.gradebook.line_items(course)
        if item.client_id in {None, _token().client_id}
        and all(getattr(item, name) == value for name, value in filters.items())
    ]
    page, links = _page(found)
    return _json([_line_item(item, sandbox, course) for item in page], LINE_ITEMS_TYPE, links=links)


@services.post("/api/lti/courses/<int:course_id>/line_items")
@needs(scopes.LINE_ITEM)
def add_line_item(course_id: int) -> Response:
    """Make a column."""
    sandbox, course = _place(course_id)
    fields = {**read_new_line_item(_body(LINE_ITEM_TYPE)), "client_id": _token().client_id}
    item = sandbox.gradebook.add_line_item(course, fields)
    return _json(_line_item(item, sandbox, course), LINE_ITEM_TYPE, 201)


@services.get("/api/lti/courses/<int:course_id>/line_items/<int:item_id>")
@needs(scopes.LINE_ITEM, scopes.LINE_ITEM_READONLY)
def line_item(course_id: int, item_id: int) -> Response:
    """One column."""
    sandbox, course, item = _place_of_item(course_id, item_id)
    return _json(_line_item(item, sandbox, course), LINE_ITEM_TYPE)


@services.put("/api/lti/courses/<int:course_id>/line_items/<int:item_id>")
@needs(scopes.LINE_ITEM)
def change_line_item(course_id: int, item_id: int) -> Response:
    """Change a column."""
    sandbox, course, _ = _place_of_item(course_id, item_id)
    fields = read_changed_line_item(_body(LINE_ITEM_TYPE))
    item = sandbox.gradebook.change_line_item(course, item_id, fields)
    return _json(_line_item(item, sandbox, course), LINE_ITEM_TYPE)


@services.delete("/api/lti/courses/<int:course_id>/line_items/<int:item_id>")
@needs(scopes.LINE_ITEM)
def remove_line_item(course_id: int, item_id: int) -> Response:
    """Drop a column with its results."""
    sandbox, course, _ = _place_of_item(course_id, item_id)
    sandbox.gradebook.remove_line_item(course, item_id)
    return Response(status=204)


@services.post("/api/lti/courses/<int:course_id>/line_items/<int:item_id>/scores")
@needs(scopes.SCORE)
def add_score(course_id: int, item_id: int) -> Response:
    """Take in somebody's score."""
    sandbox, course, item = _place_of_item(course_id, item_id)
    score = read_score(_body(SCORE_TYPE), item=item, course=course, directory=sandbox.directory)
    result = sandbox.gradebook.record(item, score)
    return _json({"resultUrl": _result_url(result, sandbox, course)}, SCORE_TYPE)


@services.get("/api/lti/courses/<int:course_id>/line_items/<int:item_id>/results")
@needs(scopes.RESULT_READONLY)
def results(course_id: int, item_id: int) -> Response:
    """The results of a column, of everybody or of one person."""
    sandbox, course, item = _place_of_item(course_id, item_id)
    found = sandbox.gradebook.results(item)
    if "user_id" in request.args:
        person = sandbox.directory.person(request.args["user_id"])
        found = [result for result in found if result.person == person]
    page, links = _page(found)
    return _json([_result(result, item, sandbox, course) for result in page], RESULTS_TYPE, links=links)


@services.get("/api/lti/courses/<int:course_id>/line_items/<int:item_id>/results/<int:result_id>")
@needs(scopes.RESULT_READONLY)
def one_result(course_id: int, item_id: int, result_id: int) -> Response:
    """One result."""
    sandbox, course, item = _place_of_item(course_id, item_id)
    found = next((result for result in sandbox.gradebook.results(item) if result.id == result_id), None)
    if found is None:
        raise ServiceError(404, "The specified resource does not exist.")
    return _json(_result(found, item, sandbox, course), RESULT_TYPE)


def _place(course_id: int) -> tuple[Sandbox, Course]:
    sandbox = sandbox_of(current_app)
    course = sandbox.directory.course(course_id)
    if course is None:
        raise ServiceError(404, "The specified resource does not exist.")
    return sandbox, course


def _place_of_item(course_id: int, item_id: int) -> tuple[Sandbox, Course, LineItem]:
    sandbox, course = _place(course_id)
    item = sandbox.gradebook.line_item(course, item_id)
    if item.client_id not in {None, _token().client_id}:
        raise ServiceError(404, "The specified resource does not exist.")
    return sandbox, course, item


def _token() -> AccessToken:
    return cast(AccessToken, g.token)


def _members(sandbox: Sandbox, course: Course) -> list[Member]:
    members: dict[str, Member] = {}
    for person, enrollment in sandbox.directory.enrollments(course):
        members.setdefault(person.login, (person, []))[1].append(enrollment)
    return list(members.values())


def _with_role(members: list[Member], role: str | None) -> list[Member]:
    if role is None:
        return members
    wanted = role if "#" in role else f"{MEMBERSHIP}#{role}"
    return [member for member in members if wanted in membership_roles(member[1])]


def _opened(rlid: str | None, sandbox: Sandbox, course: Course) -> Callable[[Person], Launch] | None:
    """How members open the resource link that the roster is asked for; None where it is not asked for one."""
    if rlid is None:
        return None
    link: ResourceLink | None = sandbox.links.find(course, rlid)
    if link is None and rlid != course.context_id:
        raise ServiceError(400, "Invalid 'rlid' parameter")
    client_id = _token().client_id
    return lambda person: sandbox.launch(person, course, resource_link=link, client_id=client_id)


def _member(member: Member, opened: Callable[[Person], Launch] | None, sandbox: Sandbox) -> dict[str, Any]:
    person, enrollments = member
    active = any(entry.state is EnrollmentState.ACTIVE for entry in enrollments)
    fields: dict[str, Any] = {
        "status": "Active" if active else "Inactive",
        **personal_claims(person, sandbox.tools.find(_token().client_id), sandbox.config),
        "user_id": person.sub,
        "lti11_legacy_user_id": person.lti11_id,
        "roles": membership_roles(enrollments),
    }
    if person.sis_id:
        fields["lis_person_sourcedid"] = person.sis_id
    if opened is not None:
        fields["message"] = [_member_message(opened(person), sandbox)]
    return fields


def _member_message(launch: Launch, sandbox: Sandbox) -> dict[str, Any]:
    tool = sandbox.tools.find(launch.client_id)
    return {
        f"{LTI}/message_type": launch.message_type.value,
        "locale": launch.person.locale,
        f"{LTI}/custom": custom_claim(launch, tool, sandbox.config, sandbox.directory),
        "https://www.instructure.com/canvas_user_id": launch.person.canvas_id,
        "https://www.instructure.com/canvas_user_login_id": launch.person.login,
    }


def _line_item(item: LineItem, sandbox: Sandbox, course: Course) -> dict[str, Any]:
    optional = {
        "tag": item.tag,
        "resourceId": item.resource_id,
        "resourceLinkId": item.resource_link_id,
        "startDateTime": item.starts_at,
        "endDateTime": item.ends_at,
        SUBMISSION_TYPE: item.submission_type,
        "submissionReview": item.submission_review,
    }
    return {
        "id": _line_item_url(item.id, sandbox, course),
        "label": item.label,
        "scoreMaximum": item.score_maximum,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _result(result: Result, item: LineItem, sandbox: Sandbox, course: Course) -> dict[str, Any]:
    fields = {
        "id": _result_url(result, sandbox, course),
        "scoreOf": _line_item_url(item.id, sandbox, course),
        "userId": result.person.sub,
        "resultMaximum": item.score_maximum,
    }
    optional = {"resultScore": result.score, "comment": result.comment}
    return {**fields, **{name: value for name, value in optional.items() if value is not None}}


def _line_item_url(item_id: int, sandbox: Sandbox, course: Course) -> str:
    return f"{course_url(sandbox.config, course)}/line_items/{item_id}"


def _result_url(result: Result, sandbox: Sandbox, course: Course) -> str:
    return f"{_line_item_url(result.line_item_id, sandbox, course)}/results/{result.id}"


PageItem = TypeVar("PageItem")


def _page(items: Sequence[PageItem]) -> tuple[Sequence[PageItem], str]:
    sandbox = sandbox_of(current_app)
    url = (sandbox.links_to or sandbox.config.url) + request.path
    return page_of(items, url=url, query=list(request.args.items(multi=True)))


def _body(content_type: str) -> object:
    if request.mimetype != content_type:
        raise ServiceError(415, f"Content-Type must be {content_type}")
    body = request.get_json(force=True, silent=True)
    if body is None:
        raise ServiceError(400, "The body is not JSON.")
    return body


def _json(
    body: Mapping[str, Any] | list[Any], content_type: str, status: int = 200, *, links: str | None = None
) -> Response:
    answer = Response(json.dumps(body), status=status, content_type=f"{content_type}; charset=utf-8")
    if links:
        answer.headers["Link"] = links
    return answer


def _uncached(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "no-store"
    return answer
