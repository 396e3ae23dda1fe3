"""The pages that open a tool, in a frame or in the whole tab."""

from dataclasses import replace
from typing import Any, Unpack

from flask import abort, g, render_template, request, url_for

from app.sandbox.claims import Launch, MessageType
from app.sandbox.config import STORAGE_FRAME, Storage
from app.sandbox.errors import ServiceError
from app.sandbox.gradebook import LineItem
from app.sandbox.links import ResourceLink
from app.sandbox.pages.place import EDITORS, GRADERS, allow_only, here, pages, tools_in
from app.sandbox.placements import COURSE_NAVIGATION, PLACEMENTS
from app.sandbox.platform import LaunchOptions
from app.sandbox.tools import Tool, origin_of

# How a frame inside a page of the course asks for the tool: no page around it, but a frame all the same.
IN_PAGE = "in_rce"
BORDERLESS = "borderless"


@pages.get("/courses/<int:course_id>/external_tools/<int:tool_id>")
def tool(course_id: int, tool_id: int) -> str:
    """A tool from course navigation."""
    name, opened = _tool(tool_id, COURSE_NAVIGATION)
    target = opened.placements[COURSE_NAVIGATION]
    return _open(_launch(target_link_uri=target, client_id=opened.client_id), name)


@pages.get("/courses/<int:course_id>/external_tools/<int:tool_id>/resource_selection")
def select(course_id: int, tool_id: int) -> str:
    """A tool to choose content from: deep linking from the placement ``launch_type``."""
    allow_only(EDITORS)
    placement = request.args.get("launch_type", "")
    if placement not in PLACEMENTS:
        abort(404)
    name, opened = _tool(tool_id, placement)
    launch = _launch(message_type=MessageType.DEEP_LINKING, placement=placement, client_id=opened.client_id)
    back = url_for(f"pages.{PLACEMENTS[placement].place}", course_id=course_id)
    return _open(launch, name, title=f"Choose from {name}", cancel=back)


@pages.get("/courses/<int:course_id>/external_tools/retrieve")
def retrieve(course_id: int) -> str:
    """A tool at a resource link, or at the address that it has given with a score, as Canvas opens submitted work."""
    lookup = request.args.get("resource_link_lookup_uuid")
    if lookup is not None:
        link = here().links.find(g.course, lookup) or abort(404)
        return open_link(link)
    item_id = request.args.get("assignment_id", type=int)
    launch = _launch(line_item=_line_item(item_id) if item_id else None)
    url = request.args.get("url", "")
    opened = here().tools.find(launch.client_id)
    if origin_of(url) != opened.origin:
        abort(404)
    return _open(replace(launch, target_link_uri=url), opened.title)


@pages.get("/courses/<int:course_id>/assignments/<int:item_id>/submissions/<int:user_id>")
def submission(course_id: int, item_id: int, user_id: int) -> str:
    """A tool to review somebody's work: the standard's submission review."""
    allow_only(GRADERS)
    student = here().directory.person(user_id) or abort(404)
    item = _line_item(item_id)
    launch = _launch(line_item=item, for_user=student, message_type=MessageType.SUBMISSION_REVIEW)
    return _open(launch, here().tools.find(launch.client_id).title, title=f"{item.label}: {student.name}")


@pages.get("/courses/<int:course_id>/assignments/<int:item_id>")
def assignment(course_id: int, item_id: int) -> str:
    """A tool as an assignment of the course."""
    item = _line_item(item_id)
    link = here().links.find(g.course, item.resource_link_id) or abort(404)
    return open_link(link, title=item.label)


@pages.get("/courses/<int:course_id>/modules/items/<link_id>")
def module_item(course_id: int, link_id: str) -> str:
    """A tool as an item of a module."""
    return open_link(here().links.find(g.course, link_id) or abort(404))


@pages.get("/courses/<int:course_id>/external_content/success/external_tool_redirect")
def returned(course_id: int) -> str:
    """Where the tool sends people when they leave it."""
    return render_template("sandbox/returned.html", title="Back in the course")


def open_link(link: ResourceLink, *, title: str | None = None) -> str:
    """The page of a resource link."""
    launch = _launch(resource_link=link)
    return _open(launch, here().tools.find(launch.client_id).title, title=title or link.title)


def storage_here() -> Storage:
    """How platform storage behaves on this page: as the sandbox does, unless the address says otherwise."""
    asked = request.args.get("storage")
    return Storage(asked) if asked in set(Storage) else here().storage


def _open(launch: Launch, name: str, *, title: str | None = None, cancel: str | None = None) -> str:
    display = request.args.get("display")
    storage, opened = storage_here(), here().tools.find(launch.client_id)
    if display == BORDERLESS:
        launch = replace(launch, document_target="window")
    return render_template(
        "sandbox/borderless.html" if display in {BORDERLESS, IN_PAGE} else "sandbox/tool.html",
        title=title or name,
        tool_name=name,
        login_url=opened.login_url,
        fields=here().login_parameters(launch, storage=storage),
        tool_origin=opened.origin,
        storage=storage,
        storage_frame=STORAGE_FRAME,
        new_tab=_new_tab(),
        cancel=cancel,
    )


def _new_tab() -> str:
    kept: dict[str, Any] = {**request.args, **(request.view_args or {}), "display": BORDERLESS}
    return url_for(request.endpoint or "", **kept)


def _launch(**options: Unpack[LaunchOptions]) -> Launch:
    return here().launch(g.person, g.course, **options)


def _line_item(item_id: int) -> LineItem:
    try:
        return here().gradebook.line_item(g.course, item_id)
    except ServiceError:
        abort(404)


def _tool(number: int, placement: str) -> tuple[str, Tool]:
    found = ((name, tool) for known, name, tool in tools_in(placement) if known == number)
    return next(found, None) or abort(404)
