"""Who may do what: every endpoint, asked by everybody."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlmodel import select

import app.api.wiring  # noqa: F401 - it declares the endpoints
from app.api.endpoints import endpoints
from app.courses.models import Course, Enrollment, EnrollmentState, Role, User
from app.database import utc_now
from app.lti.models import Deployment, Platform, RegistrationSource, RegistrationState
from app.sandbox import Sandbox
from tests.support.api import Script
from tests.support.fake_model import FakeModel
from tests.support.people import HISTORY, Visitor

pytestmark = pytest.mark.usefixtures("unread_lists")
FIELDS = {"title": "T", "learning_objective": "O", "pedagogical_guidance": "G"}
CALLERS = {
    "teacher": "miriam.okafor",
    "assistant": "priya.raman",
    "designer": "elena.petrova",
    "student": "amara.diallo",
    "classmate": "liam.oconnor",
    "observer": "grace.diallo",
}


@dataclass(frozen=True)
class Request:
    """A request, and with what it is answered; ``{e}`` stands for the experience, ``{c}`` for Amara's conversation."""

    method: str
    path: str
    teacher: int
    assistant: int
    designer: int
    student: int
    classmate: int
    observer: int
    body: dict[str, Any] | None = None


OWN = "/{e}/conversations"
CHAT = "/{e}/conversations/{c}"
FEEDBACK = CHAT + "/messages/{m}/feedback"
# In an order in which each finds what it needs: what ends or deletes comes last.
REQUESTS = {
    "list_experiences": Request("GET", "", 200, 200, 200, 200, 200, 200),
    "new_experience": Request("GET", "/new", 200, 200, 200, 403, 403, 403),
    "show_experience": Request("GET", "/{e}", 200, 200, 200, 200, 200, 200),
    "edit_experience": Request("GET", "/{e}/edit", 200, 200, 200, 403, 403, 403),
    "create_experience": Request("POST", "", 201, 201, 201, 403, 403, 403, FIELDS),
    "update_experience": Request("PUT", "/{e}", 200, 200, 200, 403, 403, 403, FIELDS),
    "list_conversations": Request("GET", "/{e}/ai_conversations", 200, 200, 403, 403, 403, 403),
    "show_ai_conversation": Request("GET", "/{e}/ai_conversations/{c}", 200, 200, 403, 403, 403, 403),
    "show_own_conversation": Request("GET", OWN, 200, 200, 200, 200, 200, 403),
    "show_conversation": Request("GET", CHAT, 200, 200, 404, 403, 404, 403),
    "evaluate_conversation": Request("GET", CHAT + "/evaluation", 200, 200, 404, 403, 404, 403),
    "send_message": Request("POST", CHAT + "/messages", 404, 404, 404, 200, 404, 403, {"message": "Hello"}),
    "give_message_feedback": Request("POST", FEEDBACK, 404, 404, 404, 200, 404, 403, {"vote": "liked"}),
    "remove_message_feedback": Request("DELETE", FEEDBACK + "/{f}", 404, 404, 404, 200, 404, 403),
    "end_conversation": Request("DELETE", CHAT, 404, 404, 404, 200, 404, 403),
    "start_conversation": Request("POST", OWN, 201, 201, 201, 201, 201, 403, {}),
    "delete_experience": Request("DELETE", "/{e}", 200, 200, 200, 403, 403, 403),
}
ASSESSMENT = {
    "overall_assessment": "Good.",
    "overall_score": 70,
    "strengths": [],
    "areas_for_improvement": [],
    "key_moments": [],
    "objectives": [
        {"objective": number, "explanation": "So.", "met": False, "score": 10} for number in (1, 2)
    ],
    "metrics": [],
}


@dataclass(frozen=True)
class Scene:
    """An experience with a conversation of Amara's in which she liked a reply."""

    ids: dict[str, int]

    def ask(self, script: Script, request: Request, **options: Any) -> Any:
        if request.body is not None:
            options["json"] = request.body
        return script.ask(request.method, request.path.format(**self.ids), **options)


@pytest.fixture
def scene(teacher: Visitor, students_script: Script, fake_model: FakeModel) -> Scene:
    experience_id = teacher.write_experience()
    fake_model.reply_with("My bill is wrong!")
    started = students_script.post(f"/{experience_id}/conversations").json
    path = f"/{experience_id}/conversations/{started['id']}"
    students_script.post(f"{path}/messages", json={"message": "I am sorry."})
    message_id = started["messages"][0]["id"]
    given = students_script.post(f"{path}/messages/{message_id}/feedback", json={"vote": "liked"}).json
    return Scene(
        {"e": experience_id, "c": started["id"], "m": message_id, "f": given["feedback"]["id"]},
    )


def test_every_endpoint_is_tried_here() -> None:
    assert set(REQUESTS) == {declared.name for declared in endpoints()}


@pytest.mark.parametrize("caller", CALLERS)
def test_people_of_the_course_are_answered_by_their_role(
    app: Flask, sandbox: Sandbox, scene: Scene, fake_model: FakeModel, caller: str
) -> None:
    fake_model.reply_with("I see.")
    fake_model.judge_by(lambda _request: ASSESSMENT)
    Visitor.launch(app, sandbox, CALLERS[caller])
    script = Script.of(app, sandbox.person(CALLERS[caller]).sub)
    answers = {name: scene.ask(script, request) for name, request in REQUESTS.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == {
        name: getattr(request, caller) for name, request in REQUESTS.items()
    }
    refusals = [answer.json for answer in answers.values() if answer.status_code == 403]
    body = {
        "status": "unauthorized",
        "errors": [{"message": "user not authorized to perform that action"}],
    }
    assert refusals == [body] * len(refusals)


STRANGERS: dict[str, Callable[[Flask, Sandbox], Script]] = {}
NAMESAKES: dict[str, Callable[[Flask, Sandbox], Script]] = {}


def namesake(make: Callable[[Flask, Sandbox], Script]) -> Callable[[Flask, Sandbox], Script]:
    """A stranger to the course, with one of their own that has the same id."""
    NAMESAKES[make.__name__.replace("_", " ")] = make
    return make


def stranger(make: Callable[[Flask, Sandbox], Script]) -> Callable[[Flask, Sandbox], Script]:
    STRANGERS[make.__name__.replace("_", " ")] = make
    return make


@stranger
def a_teacher_of_another_course(app: Flask, sandbox: Sandbox) -> Script:
    Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY)
    return Script.of(app, sandbox.person("jonas.lindqvist").sub)


@stranger
def a_teacher_who_has_left(app: Flask, sandbox: Sandbox) -> Script:
    Visitor.launch(app, sandbox, "priya.raman")
    sub = sandbox.person("priya.raman").sub
    with app.extensions["database"].transaction() as session:
        place = session.exec(select(Enrollment).join(User).where(User.sub == sub)).one()
        place.workflow_state = EnrollmentState.LEFT
    return Script.of(app, sub)


@namesake
def a_teacher_of_a_course_with_the_same_id_at_another_platform(app: Flask, sandbox: Sandbox) -> Script:
    platform_id, _course = another_platform(app)
    with app.extensions["database"].transaction() as session:
        user = User(platform_id=platform_id, sub="somebody else's teacher")
        session.add(user)
        session.flush()
        course = session.exec(select(Course).where(Course.platform_id == platform_id)).one()
        session.add(Enrollment(course_id=course.id, user_id=user.id, role=Role.TEACHER))
    return Script.of(app, "somebody else's teacher")


@namesake
def a_service_of_another_platform(app: Flask, sandbox: Sandbox) -> Script:
    platform_id, _course = another_platform(app)
    with app.extensions["database"].transaction() as session:
        session.add(User(platform_id=platform_id, sub="a service"))
    return Script.of(app, "a service", is_service=True)


@stranger
def a_service_of_another_deployment(app: Flask, sandbox: Sandbox) -> Script:
    with app.extensions["database"].transaction() as session:
        platform = session.exec(select(Platform)).one()
        deployment = Deployment(
            platform_id=platform.id, deployment_id="another", source=RegistrationSource.COMMAND
        )
        session.add_all([deployment, User(platform_id=platform.id, sub="a service")])
        session.flush()
        deployment_id = deployment.id
    return Script.of(app, "a service", is_service=True, deployment_id=deployment_id)


def another_platform(app: Flask) -> tuple[int, int]:
    """Register a second platform, with a course that has the same Canvas id."""
    with app.extensions["database"].transaction() as session:
        addresses = dict.fromkeys(("auth_login_url", "auth_token_url", "key_set_url"), "https://b.example/")
        platform = Platform(
            issuer="https://b.example", client_id="b", source=RegistrationSource.COMMAND, **addresses
        )
        session.add(platform)
        session.flush()
        deployment = Deployment(platform_id=platform.id, deployment_id="1", source=RegistrationSource.COMMAND)
        session.add(deployment)
        session.flush()
        course = Course(
            platform_id=platform.id,
            deployment_id=deployment.id,
            context_id="b",
            canvas_course_id="1101",
        )
        session.add(course)
        session.flush()
        return platform.id, course.id


@pytest.mark.parametrize("who", STRANGERS)
def test_to_a_stranger_nothing_is_there(app: Flask, sandbox: Sandbox, scene: Scene, who: str) -> None:
    script = STRANGERS[who](app, sandbox)
    for request in REQUESTS.values():
        assert_not_there(scene.ask(script, request))


@pytest.mark.parametrize("who", NAMESAKES)
def test_who_has_another_course_of_the_same_id_finds_that_alone(
    app: Flask, sandbox: Sandbox, scene: Scene, teachers_script: Script, who: str
) -> None:
    script = NAMESAKES[who](app, sandbox)
    for request in REQUESTS.values():
        if "{e}" in request.path:
            assert_not_there(scene.ask(script, request))
    assert script.get().json == []
    assert script.get("/new").status_code == 200
    created = script.post(json=FIELDS)
    assert created.status_code == 201
    assert [each["id"] for each in script.get().json] == [created.json["id"]]
    assert [each["id"] for each in teachers_script.get().json] == [scene.ids["e"]]


def assert_not_there(response: Any) -> None:
    assert (response.status_code, response.json) == (404, {"error": "Resource Not Found"})


NO_TOKENS = {
    "unknown": {},
    "revoked": {"revoked_at": utc_now()},
    "expired": {"expires_at": utc_now() - timedelta(seconds=1)},
}


@pytest.mark.parametrize("columns", NO_TOKENS.values(), ids=NO_TOKENS)
def test_a_token_that_is_not_good_opens_nothing(
    app: Flask, sandbox: Sandbox, scene: Scene, columns: dict[str, Any]
) -> None:
    script = Script.of(app, sandbox.person("miriam.okafor").sub, **columns)
    if not columns:
        script.token = "another"
    for request in REQUESTS.values():
        assert_unauthenticated(scene.ask(script, request))


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dGVhY2hlcjp4", "Token x"], ids=repr)
def test_without_a_token_nothing_is_opened(app: Flask, scene: Scene, header: str | None) -> None:
    script = Script(app.test_client(), "")
    for request in REQUESTS.values():
        assert_unauthenticated(scene.ask(script, request, headers={"Authorization": header}))


def assert_unauthenticated(response: Any) -> None:
    assert (response.status_code, response.json) == (
        401,
        {"status": "unauthenticated", "errors": [{"message": "user authorization required"}]},
    )
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="canvas-lms"'


def test_a_token_does_what_its_scopes_say_alone(app: Flask, sandbox: Sandbox, scene: Scene) -> None:
    refused = {"errors": [{"message": "Insufficient scopes on access token."}]}
    scopes = {declared.name: declared.scope for declared in endpoints()}
    teacher = sandbox.person("miriam.okafor").sub
    for name, request in REQUESTS.items():
        others = sorted(set(scopes.values()) - {scopes[name]})
        answer = scene.ask(Script.of(app, teacher, scopes=others), request)
        assert (name, answer.status_code, answer.json) == (name, 401, refused)
    for name in ("list_experiences", "create_experience", "delete_experience"):
        answer = scene.ask(Script.of(app, teacher, scopes=[scopes[name]]), REQUESTS[name])
        assert (name, answer.status_code) == (name, REQUESTS[name].teacher)


def test_a_role_that_is_lost_is_lost_to_the_token_too(
    app: Flask, sandbox: Sandbox, teachers_script: Script
) -> None:
    assert teachers_script.get("/new").status_code == 200
    with app.extensions["database"].transaction() as session:
        place = session.exec(
            select(Enrollment).join(User).where(User.sub == sandbox.person("miriam.okafor").sub)
        ).one()
        place.role = Role.STUDENT
    assert teachers_script.get("/new").status_code == 403


@pytest.mark.parametrize("model", [Platform, Deployment])
def test_a_platform_or_deployment_that_was_removed_takes_its_tokens_with_it(
    app: Flask, teachers_script: Script, model: type[Platform | Deployment]
) -> None:
    with app.extensions["database"].transaction() as session:
        session.exec(select(model)).one().workflow_state = RegistrationState.REMOVED
    assert teachers_script.get().status_code in {401, 404}


def test_a_service_administers_the_courses_of_its_platform(
    app: Flask, scene: Scene, teacher: Visitor
) -> None:
    with app.extensions["database"].transaction() as session:
        platform = session.exec(select(Platform)).one()
        session.add(User(platform_id=platform.id, sub="a service", name="Reports"))
    script = Script.of(app, "a service", is_service=True)
    assert len(script.get(f"/{scene.ids['e']}/ai_conversations").json["conversations"]) > 0
    assert script.post(json=FIELDS).status_code == 201


def test_a_course_is_named_by_its_context_too(app: Flask, sandbox: Sandbox, teachers_script: Script) -> None:
    with app.extensions["database"].snapshot() as session:
        context_id = session.exec(select(Course.context_id)).one()
    teachers_script.course = f"lti_context_id:{context_id}"
    assert teachers_script.get().status_code == 200
    teachers_script.course = context_id
    assert teachers_script.get().status_code == 404


def test_an_id_that_two_schools_use_is_ambiguous_to_a_service_of_both(
    app: Flask, scene: Scene, teacher: Visitor
) -> None:
    with app.extensions["database"].transaction() as session:
        platform = session.exec(select(Platform)).one()
        deployment = Deployment(
            platform_id=platform.id, deployment_id="another", source=RegistrationSource.COMMAND
        )
        session.add_all([deployment, User(platform_id=platform.id, sub="a service")])
        session.flush()
        session.add(
            Course(
                platform_id=platform.id,
                deployment_id=deployment.id,
                context_id="the other school's",
                canvas_course_id="1101",
            )
        )
    response = Script.of(app, "a service", is_service=True).get()
    assert (response.status_code, response.json["code"]) == (409, "ambiguous_course")


def test_within_a_launch_the_same_paths_are_answered(
    app: Flask, sandbox: Sandbox, teacher: Visitor, student: Visitor
) -> None:
    experience_id = teacher.write_experience()
    path = "/api/v1/courses/1101/ai_experiences"
    assert [each["id"] for each in student.get(path).json] == [experience_id]
    assert teacher.get("/api/v1/courses/1102/ai_experiences").status_code == 404
    unprotected = teacher.client.post(teacher.root + path, json=FIELDS)
    assert_unauthenticated(unprotected)
    created = teacher.client.post(teacher.root + path, json=FIELDS, headers={"X-CSRFToken": teacher.csrf})
    assert created.status_code == 201, created.text
    form = teacher.get(path + "/new", headers={"Accept": "text/html"})
    assert form.location.endswith("/experiences/new")


def test_a_launchs_cookie_is_no_token(teacher: Visitor) -> None:
    assert_unauthenticated(teacher.client.get("/api/v1/courses/1101/ai_experiences"))
