"""The dashboard, and the pages of a course that have nothing to do with a tool."""

from flask import abort, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.sandbox.pages.place import (
    GLOBAL_UNBUILT,
    GRADERS,
    SWITCHABLE,
    UNBUILT,
    describe_here,
    find_course,
    here,
    is_one_of,
    pages,
)
from app.sandbox.people import CanvasRole, Course, EnrollmentState, Person
from app.sandbox.roles import describe


@pages.get("/")
def dashboard() -> str:
    """The courses of the person."""
    directory = here().directory
    mine = [course for course in directory.courses if directory.may_enter(g.person, course)]
    cards = [(course, describe_here(g.person, course)) for course in mine]
    return render_template("sandbox/dashboard.html", cards=cards)


@pages.get("/switch")
def switch() -> BaseResponse:
    """Become somebody else, or go to another course, on the same page where it can be."""
    course = find_course(request.args.get("course", type=int)) or abort(404)
    section = request.args.get("section", "")
    endpoint = section if section in SWITCHABLE else "home"
    return redirect(url_for(f"pages.{endpoint}", course_id=course.canvas_id))


@pages.get("/courses/<int:course_id>")
def home(course_id: int) -> str:
    """A course's home page."""
    return render_template("sandbox/home.html", title=g.course.title, original=_original(g.course))


@pages.post("/courses/<int:course_id>/content_migrations")
def copy_content(course_id: int) -> BaseResponse:
    """Import what the course that this one is a copy of has since got."""
    original = _original(g.course)
    if original is None or not is_one_of(GRADERS):
        abort(403)
    here().copy_content(original, g.course)
    return redirect(url_for("pages.assignments", course_id=course_id), code=303)


@pages.get("/courses/<int:course_id>/users")
def people(course_id: int) -> str:
    """Everybody in the course."""
    rows = [
        (person, describe(person, [entry]), entry.state is EnrollmentState.ACTIVE)
        for person, entry in here().directory.enrollments(g.course)
    ]
    return render_template("sandbox/people.html", title="People", rows=rows)


@pages.get("/courses/<int:course_id>/grades")
def grades(course_id: int) -> str:
    """The gradebook: all students for teachers, oneself for students, the observed for observers."""
    book = here().gradebook
    items = book.line_items(g.course)
    rows = [(student, [book.result(item, student) for item in items]) for student in _visible_students()]
    return render_template(
        "sandbox/grades.html", title="Grades", items=items, rows=rows, may_grade=is_one_of(GRADERS)
    )


@pages.get("/courses/<int:course_id>/<any({}):section>".format(", ".join(UNBUILT)))
def unbuilt(course_id: int, section: str) -> str:
    """An item of course navigation that the sandbox does not have."""
    return render_template("sandbox/unbuilt.html", title=UNBUILT[section])


@pages.get("/<any({}):section>".format(", ".join(GLOBAL_UNBUILT)))
def global_unbuilt(section: str) -> str:
    """An item of global navigation that the sandbox does not have."""
    return render_template("sandbox/unbuilt.html", title=GLOBAL_UNBUILT[section])


def _original(course: Course) -> Course | None:
    by_context = {each.context_id: each for each in here().directory.courses}
    return next((by_context[context] for context in course.copied_from if context in by_context), None)


def _visible_students() -> list[Person]:
    enrollments = here().directory.enrollments_of(g.person, g.course)
    students = [
        person
        for person, entry in here().directory.enrollments(g.course)
        if entry.role is CanvasRole.STUDENT and entry.state is EnrollmentState.ACTIVE
    ]
    if is_one_of(GRADERS):
        return sorted(students, key=lambda student: student.sortable_name.casefold())
    mine = {g.person.login, *(entry.observes for entry in enrollments)}
    return [student for student in students if student.login in mine]
