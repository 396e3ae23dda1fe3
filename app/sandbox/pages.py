"""The pages that look like Canvas. Who one is stands in the address, so that two tabs can be two people."""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

from flask import Blueprint, abort, current_app, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.sandbox.claims import ACCOUNT_NAME, Launch
from app.sandbox.config import STORAGE_FRAME, TOOL_NAME
from app.sandbox.gradebook import Gradebook
from app.sandbox.people import CanvasRole, Course, EnrollmentState, Person
from app.sandbox.platform import Sandbox, sandbox_of
from app.sandbox.roles import describe

pages = Blueprint("pages", __name__)

DEFAULT_PERSON = "miriam.okafor"
STAFF = frozenset({CanvasRole.TEACHER, CanvasRole.ASSISTANT})
# Course navigation in the order of Canvas: name, page, and the section of a page that is not built.
NAVIGATION: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("Home", "home", {}),
    ("Announcements", "unbuilt", {"section": "announcements"}),
    ("Assignments", "unbuilt", {"section": "assignments"}),
    ("Discussions", "unbuilt", {"section": "discussions"}),
    ("Grades", "grades", {}),
    ("People", "people", {}),
    ("Files", "unbuilt", {"section": "files"}),
    ("Syllabus", "unbuilt", {"section": "syllabus"}),
    ("Modules", "unbuilt", {"section": "modules"}),
    (TOOL_NAME, "tool", {}),
)
UNBUILT = {values["section"]: label for label, page, values in NAVIGATION if page == "unbuilt"}
GLOBAL_UNBUILT = {"account": "Account", "calendar": "Calendar", "inbox": "Inbox", "help": "Help"}
# Where the person switcher may lead: the pages that need nothing but a course.
SWITCHABLE = frozenset({"home", "people", "grades", "tool"})
PROBLEMS: Mapping[int, str] = {403: "sandbox/no_access.html", 404: "sandbox/missing.html"}


@pages.before_request
def _resolve_place() -> BaseResponse | None:
    g.sandbox = sandbox_of(current_app)
    g.person = g.course = None
    login = request.args.get("as")
    if login is None:
        again = [*request.args.items(multi=True), ("as", DEFAULT_PERSON)]
        return redirect(f"{request.path}?{urlencode(again)}")
    g.person = _sandbox().directory.person(login) or abort(404)
    g.course = _course((request.view_args or {}).get("course_id"))
    if g.course is not None and not _sandbox().directory.may_enter(g.person, g.course):
        abort(403)
    return None


@pages.app_url_defaults
def _keep_person(endpoint: str, values: dict[str, Any]) -> None:
    person = g.get("person")
    if endpoint.startswith("pages.") and person is not None:
        values.setdefault("as", person.login)


@pages.app_context_processor
def _frame_of_page() -> dict[str, Any]:
    if "sandbox" not in g:
        return {}
    course = g.get("course")
    return {
        "person": g.person,
        "course": course,
        "account_name": ACCOUNT_NAME,
        "courses": _sandbox().directory.courses,
        "role": describe_here(g.person, course) if g.person else "",
        "choices": _choices(course),
        "navigation": NAVIGATION,
        "section": _section(),
    }


@pages.get("/")
def dashboard() -> str:
    """The courses of the person."""
    mine = [
        course for course in g.sandbox.directory.courses if g.sandbox.directory.may_enter(g.person, course)
    ]
    cards = [(course, describe_here(g.person, course)) for course in mine]
    return render_template("sandbox/dashboard.html", cards=cards)


@pages.get("/switch")
def switch() -> BaseResponse:
    """Become somebody else, or go to another course, on the same page where it can be."""
    course = _course(request.args.get("course", type=int)) or abort(404)
    section = request.args.get("section", "")
    endpoint = section if section in SWITCHABLE else "home"
    return redirect(url_for(f"pages.{endpoint}", course_id=course.canvas_id))


@pages.get("/courses/<int:course_id>")
def home(course_id: int) -> str:
    """A course's home page."""
    return render_template("sandbox/home.html", title=g.course.title)


@pages.get("/courses/<int:course_id>/users")
def people(course_id: int) -> str:
    """Everybody in the course."""
    rows = [
        (person, describe(person, [entry]), entry.state is EnrollmentState.ACTIVE)
        for person, entry in g.sandbox.directory.enrollments(g.course)
    ]
    return render_template("sandbox/people.html", title="People", rows=rows)


@pages.get("/courses/<int:course_id>/grades")
def grades(course_id: int) -> str:
    """The gradebook: all students for teachers, oneself for students, the observed for observers."""
    book: Gradebook = g.sandbox.gradebook
    items = book.line_items(g.course)
    rows = [(student, [book.result(item, student) for item in items]) for student in _visible_students()]
    return render_template("sandbox/grades.html", title="Grades", items=items, rows=rows)


@pages.get("/courses/<int:course_id>/external_tools/1")
def tool(course_id: int) -> str:
    """The tool from course navigation, in a frame or, borderless, in the whole tab."""
    return _render_launch(_sandbox().config.launch_url)


@pages.get("/courses/<int:course_id>/external_tools/retrieve")
def retrieve(course_id: int) -> str:
    """The tool at an address that it has given with a score, as Canvas opens submitted work."""
    url = request.args.get("url", "")
    if not url.startswith(f"{_sandbox().config.tool_origin}/"):
        abort(404)
    return _render_launch(url)


@pages.get("/courses/<int:course_id>/external_content/success/external_tool_redirect")
def returned(course_id: int) -> str:
    """Where the tool sends people when they leave it."""
    return render_template("sandbox/returned.html", title="Back in the course")


@pages.get("/courses/<int:course_id>/<any({}):section>".format(", ".join(UNBUILT)))
def unbuilt(course_id: int, section: str) -> str:
    """An item of course navigation that the sandbox does not have."""
    return render_template("sandbox/unbuilt.html", title=UNBUILT[section])


@pages.get("/<any({}):section>".format(", ".join(GLOBAL_UNBUILT)))
def global_unbuilt(section: str) -> str:
    """An item of global navigation that the sandbox does not have."""
    return render_template("sandbox/unbuilt.html", title=GLOBAL_UNBUILT[section])


def describe_here(person: Person, course: Course | None) -> str:
    """What somebody is in a course, or in any where there is no course."""
    return describe(person, _sandbox().directory.enrollments_of(person, course))


def show_problem(status: int) -> tuple[str, int]:
    """The page for an address that leads nowhere, or to a course that the person is not in."""
    return render_template(PROBLEMS[status]), status


def _render_launch(target_link_uri: str) -> str:
    borderless = request.args.get("display") == "borderless"
    target = "window" if borderless else "iframe"
    launch = Launch(g.person, g.course, target_link_uri, document_target=target)
    config = _sandbox().config
    return render_template(
        "sandbox/borderless.html" if borderless else "sandbox/tool.html",
        title=TOOL_NAME,
        login_url=config.login_url,
        fields=_sandbox().login_parameters(launch),
        tool_origin=config.tool_origin,
        storage_frame=STORAGE_FRAME,
        new_tab=url_for(f"pages.{_page_name()}", **_borderless_values()),
    )


def _borderless_values() -> dict[str, Any]:
    kept = {name: value for name, value in request.args.items() if name == "url"}
    return {**kept, "course_id": g.course.canvas_id, "display": "borderless"}


def _visible_students() -> list[Person]:
    here = _sandbox().directory.enrollments_of(g.person, g.course)
    students = [
        person
        for person, entry in _sandbox().directory.enrollments(g.course)
        if entry.role is CanvasRole.STUDENT and entry.state is EnrollmentState.ACTIVE
    ]
    if g.person.administrator or STAFF & {entry.role for entry in here}:
        return sorted(students, key=lambda student: student.sortable_name.casefold())
    mine = {g.person.login, *(entry.observes for entry in here)}
    return [student for student in students if student.login in mine]


def _choices(course: Course | None) -> dict[str, list[tuple[Person, str]]]:
    groups: dict[str, list[tuple[Person, str]]] = {"In this course": [], "Not in this course": []}
    for person in _sandbox().directory.people:
        inside = course is None or _sandbox().directory.may_enter(person, course)
        groups["In this course" if inside else "Not in this course"].append(
            (person, describe_here(person, course))
        )
    return {"People": groups["In this course"]} if course is None else groups


def _section() -> str:
    name = _page_name()
    return str((request.view_args or {}).get("section", "tool" if name == "retrieve" else name))


def _page_name() -> str:
    return (request.endpoint or "").partition(".")[2]


def _course(course_id: int | None) -> Course | None:
    if course_id is None:
        return None
    return _sandbox().directory.course(course_id) or abort(404)


def _sandbox() -> Sandbox:
    return cast(Sandbox, g.sandbox)
