"""What every page has: who one is, where one is, and the navigation around it.

Who one is stands in the address, so that two tabs can be two people.
"""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

from flask import Blueprint, abort, current_app, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.sandbox.claims import ACCOUNT_NAME
from app.sandbox.people import CanvasRole, Course, Person
from app.sandbox.placements import COURSE_NAVIGATION
from app.sandbox.platform import Sandbox, sandbox_of
from app.sandbox.roles import describe
from app.sandbox.tools import Tool

pages = Blueprint("pages", __name__)

DEFAULT_PERSON = "miriam.okafor"
GRADERS = frozenset({CanvasRole.TEACHER, CanvasRole.ASSISTANT})
EDITORS = GRADERS | {CanvasRole.DESIGNER}
# Course navigation in the order of Canvas: name, page, and the section of a page that is not built.
NAVIGATION: tuple[tuple[str, str, str | None], ...] = (
    ("Home", "home", None),
    ("Announcements", "unbuilt", "announcements"),
    ("Assignments", "assignments", None),
    ("Discussions", "unbuilt", "discussions"),
    ("Grades", "grades", None),
    ("People", "people", None),
    ("Pages", "page", None),
    ("Files", "unbuilt", "files"),
    ("Syllabus", "unbuilt", "syllabus"),
    ("Modules", "modules", None),
)
UNBUILT = {section: label for label, _, section in NAVIGATION if section}
GLOBAL_UNBUILT = {"account": "Account", "calendar": "Calendar", "inbox": "Inbox", "help": "Help"}
# The item of course navigation to which a page belongs that is not one itself.
SECTIONS: Mapping[str, str] = {
    "retrieve": "tool",
    "assignment": "assignments",
    "submission": "grades",
    "module_item": "modules",
    "register_tool": "developer_keys",
}
# Where the person switcher may lead: the pages that need nothing but a course.
SWITCHABLE = frozenset({"home", "people", "grades", "assignments", "modules", "page", "tool"})
PROBLEMS: Mapping[int, str] = {403: "sandbox/no_access.html", 404: "sandbox/missing.html"}


@pages.before_request
def _resolve_place() -> BaseResponse | None:
    g.sandbox = sandbox_of(current_app)
    g.person = g.course = None
    login = request.args.get("as")
    if login is None:
        again = [*request.args.items(multi=True), ("as", DEFAULT_PERSON)]
        return redirect(f"{request.path}?{urlencode(again)}")
    g.person = here().directory.person(login) or abort(404)
    g.course = find_course((request.view_args or {}).get("course_id"))
    if g.course is not None and not here().directory.may_enter(g.person, g.course):
        abort(403)
    return None


@pages.app_url_defaults
def _keep_person(endpoint: str, values: dict[str, Any]) -> None:
    person = g.get("person")
    if endpoint.startswith("pages.") and person is not None:
        values.setdefault("as", person.login)
    if endpoint == "pages.tool":
        values.setdefault("tool_id", 1)


@pages.app_context_processor
def _frame_of_page() -> dict[str, Any]:
    if "sandbox" not in g:
        return {}
    course = g.get("course")
    return {
        "person": g.person,
        "course": course,
        "account_name": ACCOUNT_NAME,
        "courses": here().directory.courses,
        "role": describe_here(g.person, course) if g.person else "",
        "may_edit": bool(g.person and course) and is_one_of(EDITORS),
        "enters": bool(g.person and course) and here().directory.may_enter(g.person, course),
        "choices": _choices(course),
        "navigation": _navigation(course) if course else [],
        "section": _section(),
    }


def here() -> Sandbox:
    """The sandbox that serves the page."""
    return cast(Sandbox, g.sandbox)


def find_course(course_id: int | None) -> Course | None:
    """A course, None for none; 404 where it does not exist."""
    if course_id is None:
        return None
    return here().directory.course(course_id) or abort(404)


def is_one_of(roles: frozenset[CanvasRole]) -> bool:
    """Whether the person has one of these roles in the course, or may do everything."""
    enrollments = here().directory.enrollments_of(g.person, g.course)
    return g.person.administrator or bool(roles & {entry.role for entry in enrollments})


def allow_only(roles: frozenset[CanvasRole]) -> None:
    """403 for everybody else."""
    if not is_one_of(roles):
        abort(403)


def describe_here(person: Person, course: Course | None) -> str:
    """What somebody is in a course, or in any where there is no course."""
    return describe(person, here().directory.enrollments_of(person, course))


def tools_in(placement: str) -> list[tuple[int, str, Tool]]:
    """The tools that have a placement, with their numbers in addresses and names that tell them apart."""
    numbered = list(enumerate(here().tools.all(), start=1))
    titles = [tool.title for _, tool in numbered]
    return [
        (number, tool.title if titles.count(tool.title) == 1 else f"{tool.title} ({number})", tool)
        for number, tool in numbered
        if placement in tool.placements
    ]


def show_problem(status: int) -> tuple[str, int]:
    """The page for an address that leads nowhere, or to what the person may not see."""
    return render_template(PROBLEMS[status]), status


def _navigation(course: Course) -> list[tuple[str, str, str]]:
    """Key, label and address of each item."""
    course_id = course.canvas_id
    built_in = [
        (section or page, label, url_for(f"pages.{page}", course_id=course_id, section=section))
        for label, page, section in NAVIGATION
    ]
    tools = [
        (_tool_key(number), label, url_for("pages.tool", course_id=course_id, tool_id=number))
        for number, label, _ in tools_in(COURSE_NAVIGATION)
    ]
    return built_in + tools


def _tool_key(number: int) -> str:
    return "tool" if number == 1 else f"tool-{number}"


def _choices(course: Course | None) -> dict[str, list[tuple[Person, str]]]:
    groups: dict[str, list[tuple[Person, str]]] = {"In this course": [], "Not in this course": []}
    for person in here().directory.people:
        inside = course is None or here().directory.may_enter(person, course)
        groups["In this course" if inside else "Not in this course"].append(
            (person, describe_here(person, course))
        )
    return {"People": groups["In this course"]} if course is None else groups


def _section() -> str:
    name = (request.endpoint or "").partition(".")[2]
    values = request.view_args or {}
    if name == "tool":
        return _tool_key(values["tool_id"])
    return str(values.get("section") or SECTIONS.get(name, name))
