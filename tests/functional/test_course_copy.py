"""A course that was copied from another imports its experiences, and the links copied with it open them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlmodel import Session, col, select, update

from app.conversations.models import Conversation
from app.courses.models import Enrollment, EnrollmentState
from app.experiences.models import Experience, WorkflowState
from app.lti.models import Launch, LineItem, RegistrationSource
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.sandbox import Sandbox, registration
from app.sandbox.claims import MessageType
from app.sandbox.people import CanvasRole, Course
from tests.support.people import BIOLOGY, BIOLOGY_COPY, EXPERIENCE, HISTORY, Visitor

LTI = "https://purl.imsglobal.org/spec/lti/claim/"


@pytest.fixture
def new_teacher(app: Flask, sandbox: Sandbox, teacher: Visitor) -> Visitor:
    """The teacher of a course that was copied from the one in which `teacher` is."""
    return Visitor.launch(app, sandbox, "miriam.okafor", BIOLOGY_COPY)


@pytest.fixture
def copied_again(sandbox: Sandbox) -> Course:
    """A copy of the copy, with a teacher and a student."""
    copy = sandbox.course(BIOLOGY_COPY)
    course = sandbox.directory.add_course(
        "Biology, third year", copied_from=(copy.context_id, *copy.copied_from)
    )
    sandbox.directory.enroll(sandbox.person("miriam.okafor"), course, CanvasRole.TEACHER)
    sandbox.directory.enroll(sandbox.person("kenji.watanabe"), course, CanvasRole.STUDENT)
    return course


@pytest.fixture
def reinstalled(sandbox: Sandbox) -> Iterator[str]:
    """Another deployment of the same tool."""
    tool = sandbox.tools.find()
    yield sandbox.tools.deploy()
    sandbox.tools.install(tool)


def offers(visitor: Visitor, path: str = "/experiences") -> list[str]:
    return [button.text.strip() for button in visitor.page(path).select("[data-testid=import]")]


def take(visitor: Visitor, page: BeautifulSoup | None = None, which: int = 0) -> str:
    """Press the import button and return where that leads."""
    form = (page or visitor.page("/experiences")).select("form:has([data-testid=import])")[which]
    fields = {field["name"]: field["value"] for field in form.select("input")}
    response = visitor.client.post(form["action"], data=fields)
    assert response.status_code == 303
    return str(response.location)


def titles(visitor: Visitor) -> list[str]:
    return [
        row.text.strip() for row in visitor.page("/experiences").select("[data-testid=experience] .row-title")
    ]


def open_link(
    app: Flask, sandbox: Sandbox, who: str, course: int, experience_id: int, **sign: object
) -> Visitor:
    target = f"http://localhost:8000/lti/launch?experience={experience_id}"
    return Visitor.open(app, sandbox, sandbox.launch(who, course, target_link_uri=target), **sign)


def test_a_copied_course_imports_texts_and_no_work(
    teacher: Visitor, student: Visitor, new_teacher: Visitor, db: Session
) -> None:
    held, draft = teacher.write_experience(), teacher.write_experience(publish=False, title="A draft")
    student.start(held)
    teacher.post(f"/experiences/{teacher.write_experience(title='Deleted')}/delete")
    page = new_teacher.page("/experiences")
    assert "This course was copied from “Introduction to Cell Biology”." in page.text
    assert offers(new_teacher) == ["Import its 2 experiences"]
    assert take(new_teacher, page) == f"{new_teacher.root}/experiences"
    assert "2 experiences imported." in new_teacher.page("/experiences").text
    assert titles(new_teacher) == ["A draft", EXPERIENCE["title"]]
    assert offers(new_teacher) == []
    first, second = db.exec(
        select(Experience).where(col(Experience.copied_from_id).is_not(None)).order_by(Experience.id)
    ).all()
    assert (first.copied_from_id, second.copied_from_id) == (held, draft)
    assert (first.workflow_state, second.workflow_state) == (
        WorkflowState.PUBLISHED,
        WorkflowState.UNPUBLISHED,
    )
    assert (first.facts, first.opening_line) == (EXPERIENCE["facts"], EXPERIENCE["opening_line"])
    assert first.learning_objectives == ["Listen actively", "Solve the problem"]
    assert (first.started_at, first.version) == (None, 1)
    assert [each.experience_id for each in db.exec(select(Conversation)).all()] == [held]


def test_importing_twice_imports_once(teacher: Visitor, new_teacher: Visitor) -> None:
    teacher.write_experience()
    page = new_teacher.page("/experiences")
    take(new_teacher, page)
    take(new_teacher, page)
    assert "There is nothing left to import." in new_teacher.page("/experiences").text
    assert titles(new_teacher) == [EXPERIENCE["title"]]


def test_two_teachers_at_once_import_once(app: Flask, sandbox: Sandbox, teacher: Visitor) -> None:
    for _ in range(5):
        teacher.write_experience()
    visitors = [Visitor.launch(app, sandbox, "miriam.okafor", BIOLOGY_COPY) for _ in range(4)]
    pages = [visitor.page("/experiences") for visitor in visitors]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, visitors, pages))
    assert len(titles(visitors[0])) == 5


def test_what_was_written_since_is_offered_anew_and_what_was_deleted_here_is_not(
    teacher: Visitor, new_teacher: Visitor
) -> None:
    teacher.write_experience()
    take(new_teacher)
    imported = new_teacher.page("/experiences").select_one("[data-testid=experience] a")["href"]
    new_teacher.client.post(f"{imported}/delete", data={"csrf_token": new_teacher.csrf})
    assert (titles(new_teacher), offers(new_teacher)) == ([], [])
    teacher.write_experience(title="Another")
    assert offers(new_teacher) == ["Import its 1 experience"]
    take(new_teacher)
    assert titles(new_teacher) == ["Another"]


def test_an_emptied_course_is_not_offered(teacher: Visitor, new_teacher: Visitor) -> None:
    teacher.post(f"/experiences/{teacher.write_experience()}/delete")
    assert offers(new_teacher) == []


def test_those_who_write_nothing_import_nothing(
    app: Flask, sandbox: Sandbox, teacher: Visitor, new_teacher: Visitor
) -> None:
    teacher.write_experience()
    page = new_teacher.page("/experiences")
    source = page.select_one("[name=source]")["value"]
    student = Visitor.launch(app, sandbox, "kenji.watanabe", BIOLOGY_COPY)
    assert student.post("/experiences/import", {"source": source}).status_code == 403
    assert student.page("/shelf").select("[data-testid=import]") == []
    assert titles(new_teacher) == []


def test_a_course_that_this_one_was_not_copied_from_gives_nothing(
    app: Flask, sandbox: Sandbox, teacher: Visitor, new_teacher: Visitor
) -> None:
    elsewhere = Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY)
    elsewhere.write_experience(title="Rome")
    for source in ("2", "1", "3", "999", "-1", "9" * 30, "nonsense", ""):
        assert new_teacher.post("/experiences/import", {"source": source}).status_code == 303
    assert titles(new_teacher) == []
    teacher.write_experience()
    assert offers(elsewhere) == []


def claim_of(sandbox: Sandbox, source: int, product: str) -> dict[str, object]:
    """Return claims that name a course as the one that this was copied from."""
    return {
        LTI + "custom": {"context_id_history": sandbox.course(source).context_id},
        LTI + "tool_platform": {"guid": "1", "product_family_code": product},
    }


def test_on_canvas_who_has_never_been_in_the_copied_course_imports_it(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    claims = claim_of(sandbox, BIOLOGY, "canvas")
    copy = Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY, **claims)
    student = open_link(app, sandbox, "kenji.watanabe", HISTORY, experience_id)
    assert "A teacher can import" in student.land().text
    take(copy)
    assert titles(copy) == [EXPERIENCE["title"]]


def test_a_link_of_a_teachers_making_claims_nobody_elses_course_on_canvas(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    link = sandbox.links.add(
        sandbox.course(HISTORY),
        title="Mine",
        url=f"http://localhost:8000/lti/launch?experience={experience_id}",
        custom={"context_id_history": sandbox.course(BIOLOGY).context_id},
    )
    forger = Visitor.open(app, sandbox, sandbox.launch("jonas.lindqvist", HISTORY, resource_link=link))
    assert_nothing_is_revealed(forger, teacher)
    honest = Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY)
    assert offers(honest) == []


def test_where_teachers_set_parameters_they_claim_nobody_elses_course(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    claims = claim_of(sandbox, BIOLOGY, "moodle")
    target = f"http://localhost:8000/lti/launch?experience={experience_id}"
    for who in ("jonas.lindqvist", "kenji.watanabe", "elena.petrova"):
        forged = sandbox.launch(who, HISTORY, target_link_uri=target)
        assert_nothing_is_revealed(Visitor.open(app, sandbox, forged, **claims), teacher)


def assert_nothing_is_revealed(forger: Visitor, teacher: Visitor) -> None:
    page = forger.land()
    assert page.status_code == 404
    assert "There is nothing here" in page.text
    for path in ("/experiences", "/shelf"):
        shown = forger.page(path)
        assert shown.select("[data-testid=import-offer]") == []
        for word in ("Cell Biology", EXPERIENCE["title"]):
            assert word not in page.text + shown.text
    assert forger.post("/experiences/import", {"source": course_of(teacher)}).status_code in {303, 403}
    assert forger.page("/experiences").select("[data-testid=experience]") == []


def course_of(visitor: Visitor) -> str:
    with visitor.client.application.extensions["database"].snapshot() as db:
        return str(db.get_one(Launch, visitor.root.rsplit("/", 1)[1]).course_id)


@pytest.mark.parametrize("who", ["miriam.okafor", "priya.raman", "elena.petrova", "ingrid.bauer"])
def test_elsewhere_those_who_write_in_the_copied_course_or_administer_the_platform_import_it(
    app: Flask, sandbox: Sandbox, teacher: Visitor, who: str
) -> None:
    experience_id = teacher.write_experience()
    if who != "ingrid.bauer":
        Visitor.launch(app, sandbox, who, BIOLOGY)
    claims = claim_of(sandbox, BIOLOGY, "moodle") | {LTI + "roles": roles_of(who)}
    copy = Visitor.launch(app, sandbox, who, HISTORY, **claims)
    waiting = open_link(app, sandbox, who, HISTORY, experience_id, **claims)
    assert "and it opens." in waiting.land().text
    take(copy)
    assert titles(copy) == [EXPERIENCE["title"]]


def roles_of(who: str) -> list[str]:
    administers = "http://purl.imsglobal.org/vocab/lis/v2/institution/person#Administrator"
    return ["Instructor", administers] if who == "ingrid.bauer" else ["Instructor"]


def test_who_wrote_in_the_copied_course_and_left_it_is_offered_nothing(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    teacher.write_experience()
    claims = claim_of(sandbox, BIOLOGY, "moodle") | {LTI + "roles": ["Instructor"]}
    copy = Visitor.launch(app, sandbox, "miriam.okafor", HISTORY, **claims)
    assert len(offers(copy)) == 1
    with app.extensions["database"].transaction() as db:
        course_id = int(course_of(teacher))
        db.exec(
            update(Enrollment)
            .where(col(Enrollment.course_id) == course_id)
            .values(workflow_state=EnrollmentState.LEFT)
        )
    assert offers(copy) == []


def test_a_teachers_claim_takes_no_place_of_what_the_platform_vouches_for(
    app: Flask, sandbox: Sandbox, teacher: Visitor, new_teacher: Visitor
) -> None:
    teacher.write_experience()
    link = sandbox.links.add(
        sandbox.course(BIOLOGY_COPY),
        title="Mine",
        url="http://localhost:8000/lti/launch",
        custom={"context_id_history": sandbox.course(HISTORY).context_id},
    )
    Visitor.open(app, sandbox, sandbox.launch("miriam.okafor", BIOLOGY_COPY, resource_link=link))
    assert offers(new_teacher) == ["Import its 1 experience"]


def test_another_platform_or_deployment_is_never_offered(
    app: Flask, sandbox: Sandbox, reinstalled: str
) -> None:
    other = sandbox.install("Another school")
    with app.extensions["database"].transaction() as db:
        for tool in (other, replace(sandbox.tools.find(), deployment_ids=(reinstalled,))):
            entry = PlatformEntry.model_validate(registration(sandbox.config, tool))
            save_platform(db, sandbox.config.issuer, entry, RegistrationSource.COMMAND)
    first = sandbox.config.deployment_id
    sources = [
        sandbox.launch("miriam.okafor", BIOLOGY, deployment_id=first),
        sandbox.launch("miriam.okafor", BIOLOGY, client_id=other.client_id),
    ]
    written = [Visitor.open(app, sandbox, source).write_experience() for source in sources]
    copy = sandbox.launch("miriam.okafor", BIOLOGY_COPY, deployment_id=reinstalled)
    visitor = Visitor.open(app, sandbox, copy)
    assert offers(visitor) == []
    for experience_id in written:
        target = f"http://localhost:8000/lti/launch?experience={experience_id}"
        opened = replace(copy, target_link_uri=target)
        assert Visitor.open(app, sandbox, opened).land().status_code == 404


def test_copied_links_open_the_import_and_before_it_the_offer(
    app: Flask, sandbox: Sandbox, teacher: Visitor, new_teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    waiting = open_link(app, sandbox, "miriam.okafor", BIOLOGY_COPY, experience_id)
    page = waiting.land()
    assert page.status_code == 404
    assert "This experience is not here yet" in page.text
    assert "experiences, and it opens." in page.text
    told = open_link(app, sandbox, "kenji.watanabe", BIOLOGY_COPY, experience_id).land()
    assert told.status_code == 404
    assert "A teacher can import" in told.text
    assert "Cell Biology" not in told.text
    assert BeautifulSoup(told.text, "html.parser").select("form") == []
    way = take(waiting, BeautifulSoup(page.text, "html.parser"))
    landed = waiting.client.get(way, follow_redirects=True)
    assert landed.status_code == 200
    copy_id = int(landed.request.path.rsplit("/", 1)[1])
    assert copy_id != experience_id
    student = open_link(app, sandbox, "kenji.watanabe", BIOLOGY_COPY, experience_id)
    assert student.land().request.path == f"{student.root}/experiences/{copy_id}/conversation"
    at_home = open_link(app, sandbox, "amara.diallo", BIOLOGY, experience_id)
    assert at_home.land().request.path == f"{at_home.root}/experiences/{experience_id}/conversation"


@pytest.mark.parametrize("imported_between", [True, False])
def test_links_open_over_two_generations_of_copies(
    app: Flask,
    sandbox: Sandbox,
    teacher: Visitor,
    new_teacher: Visitor,
    copied_again: Course,
    imported_between: bool,
) -> None:
    experience_id = teacher.write_experience()
    if imported_between:
        take(new_teacher)
        edited = new_teacher.page("/experiences").select_one("[data-testid=experience] a")["href"]
        new_teacher.client.post(
            edited, data=EXPERIENCE | {"title": "Second edition", "csrf_token": new_teacher.csrf}
        )
    third = Visitor.launch(app, sandbox, "miriam.okafor", copied_again.canvas_id)
    page = third.page("/experiences")
    source = "Biology 101 (spring copy)" if imported_between else "Introduction to Cell Biology"
    assert [
        offer.select_one("p").text.split(".")[0] for offer in page.select("[data-testid=import-offer]")
    ] == [f"This course was copied from “{source}”"]
    take(third)
    title = "Second edition" if imported_between else EXPERIENCE["title"]
    assert titles(third) == [title]
    linked = {experience_id}
    if imported_between:
        linked.add(int(edited.rsplit("/", 1)[1]))
    for each in linked:
        student = open_link(app, sandbox, "kenji.watanabe", copied_again.canvas_id, each)
        landed = student.land()
        assert landed.status_code == 200
        assert title in landed.text


def test_what_the_copy_in_between_deleted_does_not_come_back(
    app: Flask, sandbox: Sandbox, teacher: Visitor, new_teacher: Visitor, copied_again: Course
) -> None:
    experience_id = teacher.write_experience()
    take(new_teacher)
    imported = new_teacher.page("/experiences").select_one("[data-testid=experience] a")["href"]
    new_teacher.client.post(f"{imported}/delete", data={"csrf_token": new_teacher.csrf})
    third = Visitor.launch(app, sandbox, "miriam.okafor", copied_again.canvas_id)
    assert offers(third) == []
    for who in ("miriam.okafor", "kenji.watanabe"):
        opened = open_link(app, sandbox, who, copied_again.canvas_id, experience_id).land()
        assert opened.status_code == 404
        assert "There is nothing here" in opened.text


def test_every_course_of_the_history_is_offered_by_itself(
    app: Flask, sandbox: Sandbox, teacher: Visitor, new_teacher: Visitor, copied_again: Course
) -> None:
    teacher.write_experience(title="Old")
    new_teacher.write_experience(title="New")
    third = Visitor.launch(app, sandbox, "miriam.okafor", copied_again.canvas_id)
    assert len(offers(third)) == 2
    take(third, which=0)
    assert titles(third) == ["New"]
    take(third)
    assert titles(third) == ["Old", "New"]


def test_a_duplicate_of_an_import_does_not_take_over_its_links(
    app: Flask, sandbox: Sandbox, teacher: Visitor, new_teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    take(new_teacher)
    imported = new_teacher.page("/experiences").select_one("[data-testid=experience] a")["href"]
    new_teacher.client.post(f"{imported}/duplicate", data={"csrf_token": new_teacher.csrf})
    opened = open_link(app, sandbox, "miriam.okafor", BIOLOGY_COPY, experience_id).land()
    assert opened.request.path.rsplit("/", 1)[1] == imported.rsplit("/", 1)[1]


def test_the_column_of_a_copied_assignment_is_the_imports(
    app: Flask, sandbox: Sandbox, teacher: Visitor, new_teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    course = sandbox.course(BIOLOGY_COPY)
    link = sandbox.links.add(
        course, title="Bills", url=f"http://localhost:8000/lti/launch?experience={experience_id}"
    )
    fields = {"label": "Bills", "score_maximum": 10, "resource_link_id": link.id}
    column = sandbox.gradebook.add_line_item(course, fields)
    opened = sandbox.launch("kenji.watanabe", BIOLOGY_COPY, resource_link=link)
    assert "A teacher can import" in Visitor.open(app, sandbox, opened).land().text
    take(new_teacher)
    assert Visitor.open(app, sandbox, opened).land().status_code == 200
    with app.extensions["database"].transaction() as session:
        recorded = session.exec(select(LineItem)).one()
        imported = session.get_one(Experience, recorded.experience_id)
    assert imported.copied_from_id == experience_id
    assert recorded.url.endswith(f"/line_items/{column.id}")


def test_the_import_is_offered_where_one_chooses_for_the_course(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    teacher.write_experience()
    launch = sandbox.launch(
        "miriam.okafor",
        BIOLOGY_COPY,
        message_type=MessageType.DEEP_LINKING,
        placement="assignment_selection",
    )
    chooser = Visitor.open(app, sandbox, launch)
    way = take(chooser, chooser.page("/deep-link"))
    assert way == f"{chooser.root}/deep-link"
    assert EXPERIENCE["title"] in chooser.page("/deep-link").text


def test_the_list_takes_the_same_number_of_queries_however_much_there_is_to_import(
    app: Flask,
    sandbox: Sandbox,
    teacher: Visitor,
    new_teacher: Visitor,
    copied_again: Course,
    count_queries: Callable[[Callable[[], object]], int],
) -> None:
    third = Visitor.launch(app, sandbox, "miriam.okafor", copied_again.canvas_id)
    teacher.write_experience()
    few = count_queries(lambda: third.get("/experiences"))
    for _ in range(3):
        teacher.write_experience()
        new_teacher.write_experience()
    assert count_queries(lambda: third.get("/experiences")) == few
