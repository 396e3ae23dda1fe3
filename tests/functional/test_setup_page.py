"""The page on which administrators see how the tool is set up, and decide on deployments."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask
from sqlmodel import Session, select, update

from app.courses.models import Course, User
from app.database import utc_now
from app.lti.masking import MASK
from app.lti.models import (
    CourseServices,
    Deployment,
    RegistrationSource,
    RegistrationState,
    Score,
    ScoreState,
)
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.lti.services.client import SCOPE_REFUSED
from app.lti.services.scores import NOT_TAKEN
from app.lti.tool import SCOPES, SCORE_SCOPE
from app.sandbox import ABSENT, MessageType, Sandbox, registration
from app.usage.budgets import Tokens, record_tokens
from app.usage.models import CourseBudget
from tests.support.people import BIOLOGY, Visitor, begin_login, finish_launch, login_answer

LTI = "https://purl.imsglobal.org/spec/lti/claim/"
AGS = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"
NRPS = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"
ADMINISTRATOR = "http://purl.imsglobal.org/vocab/lis/v2/institution/person#Administrator"
MOODLE = {LTI + "tool_platform": {"guid": "1", "product_family_code": "moodle"}}
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.fixture
def administrator(app: Flask, sandbox: Sandbox) -> Visitor:
    return Visitor.launch(app, sandbox, "ingrid.bauer")


def feature(page: BeautifulSoup, key: str) -> tuple[str, str]:
    """Return the state of a feature and all else that is said of it."""
    row = page.select_one(f"[data-testid=feature-{key}]")
    return cell_text(row.select_one(".pill")), cell_text(row.select_one(".row-main"))


def table(page: BeautifulSoup, testid: str) -> dict[str, list[str]]:
    """Return the rows of a table by their headers."""
    rows = page.select(f"[data-testid={testid}]")
    return {cell_text(row.select_one("th")): [cell_text(cell) for cell in row.select("td")] for row in rows}


def cell_text(cell: Tag) -> str:
    return " ".join(cell.get_text(" ").split())


def claims_text(page: BeautifulSoup) -> str:
    return " ".join(part.text for part in page.select("[data-testid=claim]"))


def test_an_administrator_finds_everything_ready_on_canvas(administrator: Visitor) -> None:
    page = administrator.page("/setup")
    for key in ("names", "roster", "grades", "review", "history", "ids", "roles"):
        assert feature(page, key)[0] == "Ready", key
    assert feature(page, "review")[1] == "Transcripts in SpeedGrader"
    assert feature(page, "embedding")[0] == "Not seen yet"
    assert [row[-1] for row in table(page, "scope").values()] == ["Granted"] * len(SCOPES)


def test_embedding_is_ready_once_somebody_has_chosen_content(
    app: Flask, sandbox: Sandbox, administrator: Visitor
) -> None:
    client = app.test_client()
    login = begin_login(client, sandbox, "miriam.okafor", target_link_uri=sandbox.config.deep_link_url)
    claims = sandbox.launch_claims(
        "miriam.okafor",
        BIOLOGY,
        nonce=login_answer(login)["nonce"],
        message_type=MessageType.DEEP_LINKING,
        placement="assignment_selection",
    )
    answer = {"id_token": sandbox.sign(claims), "state": login_answer(login)["state"]}
    assert client.post("/lti/launch", data=answer).status_code == 303
    assert feature(administrator.page("/setup"), "embedding")[0] == "Ready"


def test_the_page_is_linked_from_the_list_of_experiences(teacher: Visitor) -> None:
    link = teacher.page("/experiences").select_one("[data-testid=setup]")
    assert teacher.client.get(link["href"]).status_code == 200


@pytest.mark.parametrize(
    ("claims", "key", "advice"),
    [
        (
            {"name": ABSENT, "given_name": ABSENT, "family_name": ABSENT},
            "names",
            "set the privacy level to “Public”",
        ),
        ({NRPS: ABSENT}, "roster", "Can retrieve user data associated with the context"),
        ({AGS: ABSENT}, "grades", "Can create and update submission results"),
        (
            {AGS: {"scope": [SCORE_SCOPE], "lineitems": "https://lms.example/items"}},
            "grades",
            "Can create and view",
        ),
        ({AGS: ABSENT}, "review", "these must work first"),
        ({LTI + "custom": ABSENT}, "history", "context_id_history=$Context.id.history"),
        (
            {LTI + "custom": {"context_id_history": "$Context.id.history"}},
            "history",
            "left $Context.id.history",
        ),
        ({LTI + "custom": {"canvas_user_id": "1"}}, "ids", "canvas_course_id=$Canvas.course.id"),
        ({LTI + "roles": [ADMINISTRATOR, "Wizard"]}, "roles", "no course role that the tool knows"),
    ],
)
def test_administrators_read_what_to_change(
    app: Flask, sandbox: Sandbox, claims: dict[str, Any], key: str, advice: str
) -> None:
    administrator = Visitor.launch(app, sandbox, "ingrid.bauer", **claims)
    state, words = feature(administrator.page("/setup"), key)
    assert state == "Missing"
    assert advice in words


def test_other_platforms_are_spoken_to_in_the_standards_words(app: Flask, sandbox: Sandbox) -> None:
    page = Visitor.launch(app, sandbox, "ingrid.bauer", **MOODLE, **{NRPS: ABSENT}).page("/setup")
    assert page.select_one("[data-testid=feature-ids]") is None
    assert "scope/contextmembership.readonly" in feature(page, "roster")[1]
    assert feature(page, "review")[0] == "Not seen yet"
    for word in ("Canvas.", "SpeedGrader", "developer key"):
        assert word not in page.select_one("section").text


def test_teachers_read_whom_to_ask_and_no_claims(
    app: Flask, sandbox: Sandbox, administrator: Visitor
) -> None:
    teacher = Visitor.launch(app, sandbox, "miriam.okafor", **{NRPS: ABSENT})
    page = teacher.page("/setup")
    assert feature(page, "roster")[0] == "Missing"
    assert "Ask your administrator to let the tool read the class list" in feature(page, "roster")[1]
    assert feature(page, "history")[0] == "Ready"
    for testid in ("claim", "scope", "role", "custom", "pending"):
        assert page.select(f"[data-testid={testid}]") == []
    assert "Ingrid" not in page.text
    assert teacher.page("/experiences")


def test_what_only_administrators_launches_tell_waits_for_one(teacher: Visitor) -> None:
    teacher.write_experience()
    assert feature(teacher.page("/setup"), "ids")[0] == "Ready"


@pytest.mark.parametrize("who", ["amara.diallo", "grace.diallo"])
def test_others_do_not_see_the_page(app: Flask, sandbox: Sandbox, who: str) -> None:
    visitor = Visitor.launch(app, sandbox, who)
    assert visitor.get("/setup").status_code == 403
    assert visitor.post("/setup/deployments/1/approve").status_code == 403
    assert visitor.post("/setup/deployments/1/refuse").status_code == 403
    assert visitor.post("/setup/people/1/link", {"other": "2"}).status_code == 403


def test_teachers_decide_nothing(teacher: Visitor) -> None:
    assert teacher.post("/setup/deployments/1/approve").status_code == 403
    assert teacher.post("/setup/people/1/link", {"other": "2"}).status_code == 403


def test_a_designer_reads_the_short_form(app: Flask, sandbox: Sandbox) -> None:
    assert Visitor.launch(app, sandbox, "elena.petrova").get("/setup").status_code == 200


def test_a_scope_taken_away_later_is_told_so(app: Flask, administrator: Visitor) -> None:
    with app.extensions["database"].transaction() as db:
        db.exec(update(CourseServices).values(roster_error=SCOPE_REFUSED))
    page = administrator.page("/setup")
    state, words = feature(page, "roster")
    assert state == "Missing"
    assert "It was granted before, and is not any more." in words
    assert table(page, "scope")["Read the class list"][-1] == "Refused"


def test_grades_refused_for_their_scope_are_told_until_one_is_taken(
    app: Flask, teacher: Visitor, administrator: Visitor, student: Visitor, db: Session
) -> None:
    experience_id = teacher.write_experience()
    person = db.exec(select(User).where(User.name == "Amara Diallo")).one()
    course = db.exec(select(Course)).one()
    db.commit()

    def score(state: ScoreState, error: str | None = None) -> None:
        with app.extensions["database"].transaction() as session:
            session.add(
                Score(
                    course_id=course.id,
                    experience_id=experience_id,
                    user_id=person.id,
                    activity_progress="Completed",
                    grading_progress="FullyGraded",
                    timestamp=utc_now(),
                    state=state,
                    error=error,
                )
            )

    score(ScoreState.FAILED, f"{NOT_TAKEN}\n422 no such user")
    assert feature(administrator.page("/setup"), "grades")[0] == "Ready"
    score(ScoreState.FAILED, f"{NOT_TAKEN}\n{SCOPE_REFUSED}")
    assert "is not any more" in feature(administrator.page("/setup"), "grades")[1]
    assert feature(teacher.page("/setup"), "review")[0] == "Missing"
    score(ScoreState.SENT)
    assert feature(administrator.page("/setup"), "grades")[0] == "Ready"
    with app.extensions["database"].transaction() as session:
        session.exec(update(CourseServices).values(grade_scopes=[]))
    assert "is not any more" in feature(administrator.page("/setup"), "grades")[1]


def test_a_class_list_that_fails_is_told_with_its_reason(app: Flask, administrator: Visitor) -> None:
    with app.extensions["database"].transaction() as db:
        db.exec(update(CourseServices).values(roster_error="The platform is out of order."))
    state, words = feature(administrator.page("/setup"), "roster")
    assert state == "Missing"
    assert "The platform is out of order." in words


def test_roles_are_shown_with_what_they_came_to(app: Flask, sandbox: Sandbox) -> None:
    membership = "http://purl.imsglobal.org/vocab/lis/v2/membership#"
    roles = [membership + "Instructor", membership + "Learner", ADMINISTRATOR, "urn:unheard-of", 7]
    page = Visitor.launch(app, sandbox, "ingrid.bauer", **{LTI + "roles": roles}).page("/setup")
    assert table(page, "role") == {
        membership + "Instructor": ["Teacher", "This is the role in the course."],
        membership + "Learner": ["Student", "Not used: a stronger course role came too."],
        ADMINISTRATOR: [
            "Administrator",
            "Administers the platform, and the course where no course role came.",
        ],
        "urn:unheard-of": ["None", "Not used: not a role that the tool knows."],
    }


def test_custom_variables_are_shown_resolved_or_not(app: Flask, sandbox: Sandbox) -> None:
    custom = {"canvas_course_id": 1101, "canvas_user_id": "$Canvas.user.id", "more": "1"}
    page = Visitor.launch(app, sandbox, "ingrid.bauer", **{LTI + "custom": custom}).page("/setup")
    assert table(page, "custom") == {
        "context_id_history The tool uses it.": ["", "Not sent"],
        "canvas_course_id The tool uses it.": ["1101", "Filled in"],
        "canvas_user_id The tool uses it.": ["$Canvas.user.id", "Not filled in by the platform"],
        "more": ["1", "Filled in"],
    }


def test_secrets_are_neither_kept_nor_shown(app: Flask, sandbox: Sandbox) -> None:
    custom = {"api_token": "the-secret", "back": f"https://lms.example/?data={JWT}"}
    visitor = Visitor.launch(app, sandbox, "ingrid.bauer", jti="the-secret", **{LTI + "custom": custom})
    html = visitor.get("/setup").text
    assert MASK in html
    assert "the-secret" not in html
    assert JWT not in html


HOSTILE = "</dd><script>alert(1)</script>"


@pytest.mark.parametrize(
    "claims",
    [
        {"name": HOSTILE, HOSTILE: HOSTILE, LTI + "custom": {HOSTILE: HOSTILE}},
        {LTI + "custom": [HOSTILE], LTI + "roles": [ADMINISTRATOR, HOSTILE]},
        {LTI + "custom": "text", LTI + "tool_platform": [1], LTI + "launch_presentation": 3},
        {LTI + "tool_platform": {"name": {"a": HOSTILE}, "product_family_code": ["canvas"], "version": 7}},
        {"odd": ["\u0000", "\ud800", "\u202eevil", "a" * 20_000, 10**400, 1.5, None, {"": {}}]},
        {f"claim{number}": number for number in range(500)},
        {LTI + "resource_link": {"id": "r", "title": HOSTILE}, AGS: HOSTILE, NRPS: [HOSTILE]},
    ],
)
def test_whatever_a_launch_carries_is_shown_as_text(
    app: Flask, sandbox: Sandbox, claims: dict[str, Any]
) -> None:
    administrator = Visitor.launch(app, sandbox, "ingrid.bauer", **claims)
    html = administrator.get("/setup")
    assert html.status_code == 200
    assert "<script>alert" not in html.text
    assert "\u202e" not in html.text
    assert len(html.text) < 200_000


def test_long_values_are_folded_away(app: Flask, sandbox: Sandbox) -> None:
    page = Visitor.launch(app, sandbox, "ingrid.bauer", long="a" * 3_000).page("/setup")
    folded = next(details for details in page.select("details") if "aaa" in details.text)
    assert len(folded.summary.text) < 200
    assert "a" * 3_000 in folded.select_one("pre").text


def test_somebody_who_became_an_administrator_since_sees_no_other_ones_claims(
    app: Flask, sandbox: Sandbox, administrator: Visitor, teacher: Visitor
) -> None:
    with app.extensions["database"].transaction() as db:
        db.connection().exec_driver_sql("UPDATE enrollments SET is_administrator = true")
    page = teacher.page("/setup")
    assert claims_text(page) == ""
    assert "was not kept" in page.text
    assert "Ingrid" not in page.text


def test_the_page_takes_a_constant_number_of_queries(
    app: Flask, sandbox: Sandbox, administrator: Visitor, count_queries: Callable[..., int]
) -> None:
    before = count_queries(lambda: administrator.page("/setup"))
    for who in ("amara.diallo", "liam.oconnor", "mai.nguyen"):
        Visitor.launch(app, sandbox, who)
    for number in range(3):
        launch_pending(app, sandbox, f"fresh-{number}")
    assert count_queries(lambda: administrator.page("/setup")) == before


def launch_answer(
    app: Flask,
    sandbox: Sandbox,
    who: str = "ingrid.bauer",
    deployment: str | None = None,
    client_id: str | None = None,
    **claims: Any,
) -> tuple[Any, Any]:
    """Launch by a deployment, a client, or both, as one with many of them does: the login names no deployment."""
    client = app.test_client()
    changes = {"lti_deployment_id": "", "deployment_id": ""}
    if deployment is not None:
        claims[LTI + "deployment_id"] = deployment
    if client_id is not None:
        changes["client_id"] = claims["aud"] = claims["azp"] = client_id
    login = begin_login(client, sandbox, who, **changes)
    return client, finish_launch(client, sandbox, who, login, **claims)


def launch_by(*args: Any, **options: Any) -> Visitor:
    return Visitor.arrive(*launch_answer(*args, **options))


def launch_pending(
    app: Flask, sandbox: Sandbox, deployment: str, client_id: str | None = None, **claims: Any
) -> int:
    """Launch by a deployment that nobody has approved, and return its id."""
    answer = launch_answer(app, sandbox, deployment=deployment, client_id=client_id, **claims)[1]
    assert answer.status_code == 403
    with app.extensions["database"].snapshot() as db:
        query = select(Deployment).where(Deployment.deployment_id == deployment)
        return db.exec(query.order_by(Deployment.id.desc())).first().id


def deployment(app: Flask, deployment_id: str) -> Deployment:
    with app.extensions["database"].snapshot() as db:
        return db.exec(select(Deployment).where(Deployment.deployment_id == deployment_id)).one()


@pytest.fixture
def other_client(app: Flask, sandbox: Sandbox) -> str:
    """Another client of the same issuer."""
    with app.extensions["database"].transaction() as db:
        fields = registration(sandbox.config) | {"client_id": "other-client"}
        entry = PlatformEntry.model_validate(fields)
        save_platform(db, sandbox.config.issuer, entry, RegistrationSource.COMMAND)
    return "other-client"


def test_pending_deployments_are_listed_and_approved(
    app: Flask, sandbox: Sandbox, administrator: Visitor
) -> None:
    fresh = launch_pending(app, sandbox, "fresh")
    (row,) = administrator.page("/setup").select("[data-testid=pending]")
    assert "fresh" in row.text
    assert "First seen" in row.text
    assert administrator.post(f"/setup/deployments/{fresh}/approve", {"replaces": ""}).status_code == 303
    assert deployment(app, "fresh").home_id is None
    assert administrator.page("/setup").select("[data-testid=pending]") == []
    assert launch_by(app, sandbox, deployment="fresh").page("/experiences")


def test_a_refused_deployment_stays_out_and_asks_no_more(
    app: Flask, sandbox: Sandbox, administrator: Visitor
) -> None:
    fresh = launch_pending(app, sandbox, "fresh")
    assert administrator.post(f"/setup/deployments/{fresh}/refuse").status_code == 303
    assert launch_answer(app, sandbox, deployment="fresh")[1].status_code == 403
    assert administrator.page("/setup").select("[data-testid=pending]") == []


def test_approved_in_place_of_another_it_opens_that_ones_courses_and_work(
    app: Flask, sandbox: Sandbox, administrator: Visitor, teacher: Visitor, student: Visitor
) -> None:
    experience_id = teacher.write_experience()
    conversation_id = student.start(experience_id)
    fresh = launch_pending(app, sandbox, "fresh")
    (option,) = administrator.page("/setup").select("[data-testid=pending] option[value]:not([value=''])")
    assert "1 course" in option.text
    replaced = {"replaces": option["value"]}
    assert administrator.post(f"/setup/deployments/{fresh}/approve", replaced).status_code == 303
    back = launch_by(app, sandbox, "amara.diallo", "fresh")
    chat = back.page(f"/experiences/{experience_id}/conversation").select_one("[data-chat]")
    assert chat["data-conversation"] == str(conversation_id)
    assert launch_by(app, sandbox, "miriam.okafor", "fresh").page(f"/experiences/{experience_id}")


def test_two_deployments_of_one_client_share_nothing_though_course_and_people_have_the_same_ids(
    app: Flask, sandbox: Sandbox, administrator: Visitor, teacher: Visitor, student: Visitor
) -> None:
    fresh = launch_pending(app, sandbox, "fresh")
    administrator.post(f"/setup/deployments/{fresh}/approve", {"replaces": ""})
    share_nothing(teacher, student, partial(launch_by, app, sandbox, deployment="fresh"))


def test_two_clients_of_one_issuer_share_nothing_though_course_and_people_have_the_same_ids(
    app: Flask, sandbox: Sandbox, other_client: str, teacher: Visitor, student: Visitor
) -> None:
    share_nothing(teacher, student, partial(launch_by, app, sandbox, client_id=other_client))


def share_nothing(teacher: Visitor, student: Visitor, elsewhere: Callable[..., Visitor]) -> None:
    experience_id = teacher.write_experience()
    conversation_id = student.start(experience_id)
    learner = {LTI + "roles": ["Learner"]}
    foreign_teacher, same_student = elsewhere("miriam.okafor"), elsewhere("amara.diallo")
    assert foreign_teacher.page("/experiences").select("[data-testid=experience]") == []
    for path in (f"/experiences/{experience_id}", f"/conversations/{conversation_id}/transcript"):
        assert foreign_teacher.get(path).status_code == 404
    for visitor in (same_student, elsewhere("kenji.watanabe", **learner)):
        assert visitor.page("/shelf").select("[data-testid=experience]") == []
        assert visitor.get(f"/experiences/{experience_id}/conversation").status_code == 404
        assert visitor.send(conversation_id, "Hello").status_code == 404
    theirs = foreign_teacher.write_experience(title="Theirs")
    assert teacher.get(f"/experiences/{theirs}").status_code == 404
    assert "Kenji" not in teacher.page(f"/experiences/{experience_id}").text


def test_another_clients_deployments_are_neither_seen_nor_touched(
    app: Flask, sandbox: Sandbox, administrator: Visitor, other_client: str
) -> None:
    theirs = launch_pending(app, sandbox, "theirs", other_client)
    ours = launch_pending(app, sandbox, "ours")
    assert "theirs" not in administrator.page("/setup").text
    assert administrator.post(f"/setup/deployments/{theirs}/approve").status_code == 404
    assert administrator.post(f"/setup/deployments/{theirs}/refuse").status_code == 404
    assert deployment(app, "theirs").workflow_state is RegistrationState.PENDING
    replaced = {"replaces": str(theirs)}
    assert administrator.post(f"/setup/deployments/{ours}/approve", replaced).status_code == 404
    assert deployment(app, "ours").workflow_state is RegistrationState.PENDING


def school(guid: str | None, name: str = "A school") -> dict[str, Any]:
    """Return the claim by which one of several schools that share a client says which it is."""
    return {LTI + "tool_platform": {"guid": guid, "name": name, "product_family_code": "canvas"}}


@pytest.fixture
def two_schools(app: Flask, sandbox: Sandbox) -> tuple[Visitor, Visitor]:
    """The administrators of two schools at one client, each in a deployment of their own with a course."""
    first = launch_by(app, sandbox, **school("first", "First school"))
    with app.extensions["database"].transaction() as db:
        fields = registration(sandbox.config) | {"deployment_ids": ["second-1"]}
        save_platform(
            db, sandbox.config.issuer, PlatformEntry.model_validate(fields), RegistrationSource.COMMAND
        )
    return first, launch_by(app, sandbox, deployment="second-1", **school("second", "Second school"))


def test_schools_that_share_a_client_decide_on_their_own_deployments_alone(
    app: Flask, sandbox: Sandbox, two_schools: tuple[Visitor, Visitor]
) -> None:
    first, second = two_schools
    theirs = launch_pending(app, sandbox, "second-2", **school("second"))
    page = first.page("/setup")
    assert page.select("[data-testid=pending]") == []
    assert "second" not in page.text
    assert first.post(f"/setup/deployments/{theirs}/approve").status_code == 404
    assert first.post(f"/setup/deployments/{theirs}/refuse").status_code == 404
    assert deployment(app, "second-2").workflow_state is RegistrationState.PENDING
    (row,) = second.page("/setup").select("[data-testid=pending]")
    assert "second-2" in row.text
    assert second.post(f"/setup/deployments/{theirs}/approve").status_code == 303
    assert deployment(app, "second-2").workflow_state is RegistrationState.ACTIVE


def test_a_school_takes_over_no_other_schools_courses(
    app: Flask, sandbox: Sandbox, two_schools: tuple[Visitor, Visitor]
) -> None:
    first, second = two_schools
    ours = launch_pending(app, sandbox, "first-2", **school("first"))
    (option,) = first.page("/setup").select("[data-testid=pending] option[value]:not([value=''])")
    assert sandbox.config.deployment_id in option.text
    replaced = {"replaces": str(deployment(app, "second-1").id)}
    assert first.post(f"/setup/deployments/{ours}/approve", replaced).status_code == 404
    assert second.post(f"/setup/deployments/{ours}/approve", replaced).status_code == 404
    assert deployment(app, "first-2").workflow_state is RegistrationState.PENDING


@pytest.mark.parametrize("guid", [None, "", " ", "g" * 256, "gu\u202eid", 7])
def test_where_a_platform_tells_no_instances_apart_whoever_runs_the_tool_decides(
    app: Flask, sandbox: Sandbox, guid: Any
) -> None:
    administrator = launch_by(app, sandbox, **school(guid))
    pending = [
        launch_pending(app, sandbox, "same", **school(guid)),
        launch_pending(app, sandbox, "other", **school("other")),
    ]
    page = administrator.page("/setup")
    assert page.select("[data-testid=pending]") == []
    assert "ai-experiences platform approve" in page.select_one("[data-testid=decided-elsewhere]").text
    for each in pending:
        assert administrator.post(f"/setup/deployments/{each}/approve").status_code == 404
        assert administrator.post(f"/setup/deployments/{each}/refuse").status_code == 404


def test_each_school_at_a_client_keeps_its_own_name(
    app: Flask, sandbox: Sandbox, two_schools: tuple[Visitor, Visitor]
) -> None:
    first, second = two_schools
    for visitor, own, foreign in (
        (first, "First school", "Second school"),
        (second, "Second school", "First school"),
    ):
        facts = visitor.page("/setup").select_one("section[aria-labelledby=platform-title]").text
        assert own in facts
        assert foreign not in facts


def test_what_a_deployments_instance_says_of_itself_is_kept_and_brought_up_to_date(
    app: Flask, sandbox: Sandbox
) -> None:
    def kept(deployment_id: str) -> tuple[str | None, str | None]:
        found = deployment(app, deployment_id)
        return found.platform_guid, found.platform_name

    own = sandbox.config.deployment_id
    launch_by(app, sandbox, **school("one", "Old name"))
    launch_by(app, sandbox, **school("one", "New name"))
    launch_by(app, sandbox, **{LTI + "tool_platform": ABSENT})
    assert kept(own) == ("one", "New name")
    launch_pending(app, sandbox, "fresh", **{LTI + "tool_platform": ABSENT})
    assert kept("fresh") == (None, None)
    launch_pending(app, sandbox, "fresh", **school("two", "Another"))
    assert kept("fresh") == ("two", "Another")


@pytest.mark.parametrize("replaces", ["x", "0", "-1", "99999999999999999999", "1 OR 1"])
def test_what_names_no_deployment_replaces_none_and_approves_nothing(
    app: Flask, sandbox: Sandbox, administrator: Visitor, replaces: str
) -> None:
    fresh = launch_pending(app, sandbox, "fresh")
    answer = administrator.post(f"/setup/deployments/{fresh}/approve", {"replaces": replaces})
    assert answer.status_code == 404
    assert deployment(app, "fresh").workflow_state is RegistrationState.PENDING


def test_a_deployment_does_not_replace_itself(app: Flask, sandbox: Sandbox, administrator: Visitor) -> None:
    fresh = launch_pending(app, sandbox, "fresh")
    answer = administrator.post(f"/setup/deployments/{fresh}/approve", {"replaces": str(fresh)})
    assert answer.status_code == 409
    assert deployment(app, "fresh").workflow_state is RegistrationState.PENDING


def test_what_has_been_decided_is_not_decided_again(
    app: Flask, sandbox: Sandbox, administrator: Visitor
) -> None:
    fresh = launch_pending(app, sandbox, "fresh")
    administrator.post(f"/setup/deployments/{fresh}/refuse")
    answer = administrator.post(f"/setup/deployments/{fresh}/approve", {"replaces": "1"})
    assert answer.status_code == 409
    assert "decided on meanwhile" in answer.text
    assert "What you wrote" not in answer.text
    assert deployment(app, "fresh").workflow_state is RegistrationState.REMOVED


def test_deciding_needs_the_pages_token(app: Flask, sandbox: Sandbox, administrator: Visitor) -> None:
    fresh = launch_pending(app, sandbox, "fresh")
    for path in (f"/setup/deployments/{fresh}/approve", f"/setup/deployments/{fresh}/refuse"):
        assert administrator.client.post(administrator.root + path).status_code == 401
    assert deployment(app, "fresh").workflow_state is RegistrationState.PENDING


def test_deciding_is_logged_by_ids_alone(
    app: Flask, sandbox: Sandbox, administrator: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    fresh = launch_pending(app, sandbox, "fresh")
    caplog.set_level("INFO", "app.lti.setup.approvals")
    administrator.post(f"/setup/deployments/{fresh}/approve")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "app.lti.setup.approvals"]
    assert f"approved deployment {fresh}" in line
    assert "Ingrid" not in line


def use_of(visitor: Visitor) -> str:
    """Return what the page says of the course's use of the AI."""
    return cell_text(visitor.page("/setup").select_one("[data-testid=use]"))


def used(app: Flask, experience_id: int, tokens: int, *, estimated: bool = False) -> None:
    with app.extensions["database"].transaction() as db:
        record_tokens(db, experience_id, Tokens(tokens, estimated))


def test_teachers_and_administrators_see_what_the_course_has_used(
    app: Flask, administrator: Visitor, teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    used(app, experience_id, 12_000)
    used(app, experience_id, 345, estimated=True)
    for visitor in (administrator, teacher):
        month = visitor.page("/setup").select_one("[data-testid=month]").text
        assert "12,345 tokens 345 of them are an estimate" in " ".join(month.split())


def test_an_administrator_decides_what_the_course_may_use(
    app: Flask, administrator: Visitor, teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    saved = administrator.post("/setup/budget", {"tokens": " 1,000 "})
    assert (saved.status_code, saved.location) == (303, f"{administrator.root}/setup#use")
    used(app, experience_id, 999)
    assert "999 of 1,000 tokens" in use_of(administrator)
    assert administrator.page("/setup").select_one("[name=tokens]")["value"] == "1000"
    assert "used up" not in use_of(teacher)
    used(app, experience_id, 1)
    assert "The budget of this month is used up" in use_of(teacher)
    administrator.post("/setup/budget", {"tokens": ""})
    assert "used up" not in use_of(teacher)


@pytest.mark.parametrize("typed", ["-1", "1.5", "many", "1,00", "9" * 13, "9" * 30, "²"])
def test_a_budget_that_is_no_number_comes_back_as_it_was_typed(administrator: Visitor, typed: str) -> None:
    administrator.post("/setup/budget", {"tokens": "5"})
    answer = administrator.post("/setup/budget", {"tokens": typed})
    assert answer.status_code == 400
    page = BeautifulSoup(answer.text, "html.parser")
    assert page.select_one("[name=tokens]")["value"] == typed
    assert "Write a whole number" in page.select_one("#tokens-error").text
    assert administrator.page("/setup").select_one("[name=tokens]")["value"] == "5"


def test_a_teacher_decides_on_no_budget(app: Flask, teacher: Visitor, db: Session) -> None:
    assert teacher.page("/setup").select_one("[name=tokens]") is None
    for typed in ("5", "many"):
        assert teacher.post("/setup/budget", {"tokens": typed}).status_code == 403
    assert db.exec(select(CourseBudget)).all() == []
