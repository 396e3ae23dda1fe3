"""Canvas's own Python client, `canvasapi`, as it comes from PyPI, over HTTP."""

import threading
from collections.abc import Iterator

import pytest
from canvasapi.canvas_object import CanvasObject
from canvasapi.exceptions import (
    Conflict,
    Forbidden,
    InvalidAccessToken,
    RateLimitExceeded,
    ResourceDoesNotExist,
    Unauthorized,
)
from canvasapi.paginated_list import PaginatedList
from canvasapi.requester import Requester
from flask import Flask
from sqlmodel import select
from werkzeug.serving import make_server

from app.courses.models import Course, Enrollment, Role, User
from app.lti.models import Deployment
from app.settings import Settings
from tests.support.api import Script
from tests.support.fake_model import FakeModel
from tests.support.ports import free_port

EXPERIENCES = "courses/4711/ai_experiences"
STUDENTS = 25
FIELDS = {
    "ai_experience[title]": "Customer Service Simulation",
    "ai_experience[learning_objective]": "Listen actively",
    "ai_experience[pedagogical_guidance]": "A customer is calling about a billing issue",
    "ai_experience[workflow_state]": "published",
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The tool's own address is that of the server, so that the links to further pages lead there."""
    return settings.model_copy(update={"app_url": f"http://127.0.0.1:{free_port()}"})


@pytest.fixture
def server(app: Flask, settings: Settings) -> Iterator[str]:
    server = make_server("127.0.0.1", int(settings.app_url.rpartition(":")[2]), app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield settings.app_url
    server.shutdown()
    server.server_close()


@pytest.fixture
def course(app: Flask) -> None:
    """A course with a teacher and a class."""
    with app.extensions["database"].transaction() as session:
        deployment = session.exec(select(Deployment)).one()
        course = Course(
            platform_id=deployment.platform_id,
            deployment_id=deployment.id,
            context_id="c",
            canvas_course_id="4711",
        )
        people = [
            User(platform_id=deployment.platform_id, sub=sub, name=sub)
            for sub in ("teacher", *(f"student {number}" for number in range(STUDENTS)))
        ]
        session.add_all([course, *people])
        session.flush()
        session.add_all(
            Enrollment(
                course_id=course.id,
                user_id=person.id,
                role=Role.TEACHER if person.sub == "teacher" else Role.STUDENT,
            )
            for person in people
        )


@pytest.fixture
def teacher(app: Flask, server: str, course: None) -> Requester:
    return Requester(server, Script.of(app, "teacher").token)


@pytest.fixture
def student(app: Flask, server: str, course: None) -> Requester:
    return Requester(server, Script.of(app, "student 7").token)


def create(teacher: Requester, **changes: str) -> int:
    return int(teacher.request("POST", EXPERIENCES, **(FIELDS | changes)).json()["id"])


def listed(requester: Requester, path: str = EXPERIENCES, **options: object) -> list[CanvasObject]:
    return list(PaginatedList(CanvasObject, requester, "GET", path, **options))


def test_experiences_are_created_listed_edited_published_and_deleted(teacher: Requester) -> None:
    ids = [create(teacher, **{"ai_experience[title]": f"No. {number}"}) for number in range(5)]
    found = listed(teacher, per_page=2)
    assert [(each.id, each.title) for each in found] == [
        (identifier, f"No. {number}") for number, identifier in reversed(list(enumerate(ids)))
    ]
    assert found[0].created_at_date.tzinfo is not None
    path = f"{EXPERIENCES}/{ids[0]}"
    changed = teacher.request("PUT", path, **{"ai_experience[workflow_state]": "unpublished"}).json()
    assert (changed["title"], changed["workflow_state"]) == ("No. 0", "unpublished")
    assert teacher.request("DELETE", path).json()["workflow_state"] == "deleted"
    assert len(listed(teacher)) == 4
    assert [each.id for each in listed(teacher, workflow_state="deleted")] == [ids[0]]


def test_conversations_are_paged_through(
    teacher: Requester, student: Requester, fake_model: FakeModel
) -> None:
    experience_id = create(teacher)
    fake_model.reply_with("My bill is wrong!")
    started = student.request("POST", f"{EXPERIENCES}/{experience_id}/conversations").json()
    path = f"{EXPERIENCES}/{experience_id}/ai_conversations"
    found = listed(teacher, path, per_page=10, _root="conversations")
    assert len(found) == STUDENTS
    assert len({each.student["id"] for each in found}) == STUDENTS
    (held,) = [each for each in found if each.has_conversation]
    assert (held.id, held.student["name"]) == (started["id"], "student 7")
    whole = teacher.request("GET", f"{path}/{held.id}").json()
    assert [message["text"] for message in whole["messages"]] == ["My bill is wrong!"]


def test_refusals_are_the_clients_own_exceptions(
    app: Flask, server: str, teacher: Requester, student: Requester
) -> None:
    experience_id = create(teacher)
    with pytest.raises(Forbidden):
        student.request("DELETE", f"{EXPERIENCES}/{experience_id}")
    with pytest.raises(ResourceDoesNotExist):
        teacher.request("GET", f"{EXPERIENCES}/{experience_id + 1}")
    with pytest.raises(InvalidAccessToken):
        Requester(server, "another").request("GET", EXPERIENCES)
    with pytest.raises(Unauthorized):
        Requester(server, Script.of(app, "teacher", scopes=[]).token).request("GET", EXPERIENCES)
    student.request("POST", f"{EXPERIENCES}/{experience_id}/conversations")
    with pytest.raises(Conflict):
        started = student.request("GET", f"{EXPERIENCES}/{experience_id}/conversations").json()
        student.request("DELETE", f"{EXPERIENCES}/{experience_id}/conversations/{started['id']}")
        student.request(
            "POST", f"{EXPERIENCES}/{experience_id}/conversations/{started['id']}/messages", message="Hello"
        )


class TestRates:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"api_token_requests_per_minute": 3})

    def test_too_many_requests_are_the_clients_own_exception_too(self, teacher: Requester) -> None:
        for _ in range(3):
            teacher.request("GET", EXPERIENCES)
        with pytest.raises(RateLimitExceeded, match=r"X-Rate-Limit-Remaining: \d"):
            teacher.request("GET", EXPERIENCES)
