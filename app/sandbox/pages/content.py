"""Assignments, modules and a page of a course, and what tools add to them by deep linking."""

from flask import g, render_template, request, url_for

from app.sandbox.claims import Launch
from app.sandbox.config import STORAGE_FRAME
from app.sandbox.deep_linking import DeepLinkingError, Selection
from app.sandbox.pages.launches import IN_PAGE, storage_here
from app.sandbox.pages.place import EDITORS, allow_only, here, pages, tools_in
from app.sandbox.placements import PLACEMENTS, Place


@pages.get("/courses/<int:course_id>/assignments")
def assignments(course_id: int) -> str:
    """The columns of the gradebook, as work to do."""
    return render_template(
        "sandbox/assignments.html",
        title="Assignments",
        items=here().gradebook.line_items(g.course),
        tools=tools_in("assignment_selection"),
    )


@pages.get("/courses/<int:course_id>/modules")
def modules(course_id: int) -> str:
    """The course's one module."""
    return render_template(
        "sandbox/modules.html",
        title="Modules",
        links=here().links.of(g.course, Place.MODULES),
        adding=tools_in("link_selection"),
        tools=tools_in("module_index_menu_modal"),
    )


@pages.get("/courses/<int:course_id>/pages/welcome")
def page(course_id: int) -> str:
    """The course's one page, with the tools that are embedded in it."""
    return render_template(
        "sandbox/page.html",
        title="Welcome",
        links=here().links.of(g.course, Place.PAGE),
        tools=tools_in("editor_button"),
        in_page=IN_PAGE,
        storage=storage_here(),
        storage_frame=STORAGE_FRAME,
        tool_origins=" ".join(here().tools.origins()),
    )


@pages.post("/courses/<int:course_id>/deep_linking_response")
def deep_linking_response(course_id: int) -> tuple[str, int]:
    """What a teacher has chosen in a tool: put it into the course, or say what is wrong with it."""
    allow_only(EDITORS)
    try:
        asked, selection = _read(request.form.get("JWT", ""))
    except DeepLinkingError as error:
        return render_template("sandbox/selection_refused.html", reason=str(error)), 400
    added = here().add_content(asked, selection)
    place = PLACEMENTS[asked.placement or ""].place
    back = url_for(f"pages.{place}", course_id=course_id)
    return render_template("sandbox/selected.html", added=added, selection=selection, back=back), 200


def _read(token: str) -> tuple[Launch, Selection]:
    asked, selection = here().read_deep_linking_response(token)
    if (asked.person, asked.course) != (g.person, g.course):
        raise DeepLinkingError("data is that of another person or course")
    return asked, selection
