"""Teachers choose experiences for a course, and the links that come of it open them (LTI Deep Linking 2.0)."""

import time
from html import escape
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlmodel import Session, select
from werkzeug.test import TestResponse

from app.lti.models import LineItem, Platform, RegistrationSource
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.sandbox import ABSENT, Sandbox, registration
from app.sandbox.claims import MessageType
from app.sandbox.deep_linking import SETTINGS
from app.sandbox.links import ResourceLink
from app.sandbox.placements import Place
from tests.support.people import BIOLOGY, EXPERIENCE, HISTORY, Visitor

LTI = "https://purl.imsglobal.org/spec/lti/claim/"
DEEP_LINKING = "https://purl.imsglobal.org/spec/lti-dl/claim/"
ONE, SEVERAL, UNGRADED = "assignment_selection", "module_index_menu_modal", "link_selection"


def come_to_choose(
    app: Flask, sandbox: Sandbox, who: str = "miriam.okafor", placement: str = ONE, **settings: object
) -> Visitor:
    """Come by a deep linking request; ``settings`` change those of the placement, or leave them out."""
    launch = sandbox.launch(who, BIOLOGY, message_type=MessageType.DEEP_LINKING, placement=placement)
    usual = sandbox.claims_of(launch, nonce="")[SETTINGS]
    changed = {name: value for name, value in {**usual, **settings}.items() if value is not ABSENT}
    return Visitor.open(app, sandbox, launch, **{SETTINGS: changed})


def page_of(response: TestResponse) -> BeautifulSoup:
    return BeautifulSoup(response.text, "html.parser")


def posted(response: TestResponse) -> tuple[str, str]:
    """Return where an answer is posted to, and the token."""
    assert response.status_code == 200, response.text
    form = page_of(response).select_one("form[data-pass-on]")
    assert form is not None
    assert form.select_one("button") is not None
    return str(form["action"]), str(form.select_one("[name=JWT]")["value"])


def message_of(app: Flask, sandbox: Sandbox, response: TestResponse) -> dict[str, Any]:
    """Verify an answer with the keys that the tool publishes, and return its claims."""
    token = posted(response)[1]
    keys = jwt.PyJWKSet.from_dict(app.test_client().get("/lti/jwks.json").json)
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(token, key, ["RS256"], audience=sandbox.config.issuer)
    return claims


def items_of(app: Flask, sandbox: Sandbox, response: TestResponse) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = message_of(app, sandbox, response)[DEEP_LINKING + "content_items"]
    return items


def put_into_course(sandbox: Sandbox, response: TestResponse) -> list[ResourceLink]:
    """Have the platform take an answer."""
    asked, selection = sandbox.read_deep_linking_response(posted(response)[1])
    return sandbox.add_content(asked, selection)


def test_a_teacher_makes_an_assignment_and_a_student_lands_in_the_conversation(
    app: Flask, sandbox: Sandbox, teacher: Visitor, db: Session
) -> None:
    experience_id = teacher.write_experience()
    chooser = come_to_choose(app, sandbox)
    page = page_of(chooser.land())
    assert [label.text for label in page.select("[data-testid=experience] label")] == [EXPERIENCE["title"]]
    assert page.select_one("[name=experience]")["type"] == "radio"
    answer = chooser.post("/deep-link", {"experience": experience_id, "graded": "y", "points": "20"})
    (link,) = put_into_course(sandbox, answer)
    column = sandbox.gradebook.line_item_of(link)
    assert (link.title, link.url) == (
        EXPERIENCE["title"],
        f"http://localhost:8000/lti/launch?experience={experience_id}",
    )
    assert (column.label, column.score_maximum) == (EXPERIENCE["title"], 20)
    assert (column.resource_id, column.tag) == (f"experience-{experience_id}", "ai-experiences")
    student = Visitor.open(app, sandbox, sandbox.launch("amara.diallo", BIOLOGY, resource_link=link))
    landed = student.land()
    assert landed.request.path == f"{student.root}/experiences/{experience_id}/conversation"
    student.start(experience_id)
    recorded = db.exec(select(LineItem)).one()
    assert (recorded.experience_id, recorded.resource_link_id) == (experience_id, link.id)
    assert recorded.url.endswith(f"/line_items/{column.id}")


def test_the_answer_is_what_the_platform_asked_for(app: Flask, sandbox: Sandbox, teacher: Visitor) -> None:
    experience_id = teacher.write_experience(description="You are **on duty**.\n\n- Be kind\n- 3 < 4")
    chooser = come_to_choose(
        app, sandbox, data="opaque", deep_link_return_url="https://school.example/back?a=1&b"
    )
    answer = chooser.post("/deep-link", {"experience": experience_id})
    message = message_of(app, sandbox, answer)
    assert posted(answer)[0] == "https://school.example/back?a=1&b"
    assert message["iss"] == sandbox.config.client_id
    assert message[LTI + "deployment_id"] == sandbox.config.deployment_id
    assert message[LTI + "message_type"] == "LtiDeepLinkingResponse"
    assert message[LTI + "version"] == "1.3.0"
    assert message[DEEP_LINKING + "data"] == "opaque"
    assert message["iat"] <= time.time()
    assert message["exp"] - message["iat"] <= 300
    assert message[DEEP_LINKING + "content_items"] == [
        {
            "type": "ltiResourceLink",
            "title": EXPERIENCE["title"],
            "text": "You are on duty. Be kind 3 < 4",
            "url": f"http://localhost:8000/lti/launch?experience={experience_id}",
            "icon": {"url": "http://localhost:8000/static/images/icon.svg"},
            "iframe": {},
        }
    ]


@pytest.mark.parametrize("data", ["", {"course": "2"}, [1, None], "ü" * 5000, "\u0000"], ids=ascii)
def test_data_comes_back_unchanged(app: Flask, sandbox: Sandbox, data: object) -> None:
    answer = come_to_choose(app, sandbox, data=data).post("/deep-link/cancel")
    assert message_of(app, sandbox, answer)[DEEP_LINKING + "data"] == data


def test_no_data_is_answered_with_none(app: Flask, sandbox: Sandbox) -> None:
    answer = come_to_choose(app, sandbox, data=ABSENT).post("/deep-link/cancel")
    assert DEEP_LINKING + "data" not in message_of(app, sandbox, answer)


def test_cancelling_adds_nothing(app: Flask, sandbox: Sandbox) -> None:
    chooser = come_to_choose(app, sandbox)
    assert page_of(chooser.land()).select_one("[data-testid=cancel][form=cancel]") is not None
    answer = chooser.post("/deep-link/cancel")
    assert put_into_course(sandbox, answer) == []
    assert DEEP_LINKING + "errormsg" not in message_of(app, sandbox, answer)


def test_several_are_added_where_the_platform_takes_several(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    first, second, _third = (teacher.write_experience(title=title) for title in ("One", "Two", "Three"))
    chooser = come_to_choose(app, sandbox, placement=SEVERAL)
    assert page_of(chooser.land()).select_one("[name=experience]")["type"] == "checkbox"
    answer = chooser.post("/deep-link", {"experience": [first, second], "graded": "y", "points": "7,5"})
    links = put_into_course(sandbox, answer)
    assert {link.title for link in links} == {"One", "Two"}
    assert {sandbox.gradebook.line_item_of(link).score_maximum for link in links} == {7.5}


def test_one_alone_is_taken_where_the_platform_takes_one(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    both = [teacher.write_experience(), teacher.write_experience()]
    answer = come_to_choose(app, sandbox).post("/deep-link", {"experience": both})
    assert answer.status_code == 400
    assert "Choose an experience." in answer.text


@pytest.mark.parametrize(
    ("placement", "changes", "offered", "checked"),
    [
        (ONE, {}, True, True),
        (ONE, {"accept_lineitem": ABSENT}, True, False),
        (ONE, {"accept_lineitem": "true"}, True, True),
        (ONE, {"accept_lineitem": False}, False, False),
        (SEVERAL, {}, True, False),
        (UNGRADED, {}, False, False),
    ],
)
def test_grading_is_offered_where_the_platform_may_take_line_items(
    app: Flask,
    sandbox: Sandbox,
    teacher: Visitor,
    placement: str,
    changes: dict[str, object],
    offered: bool,
    checked: bool,
) -> None:
    experience_id = teacher.write_experience()
    chooser = come_to_choose(app, sandbox, placement=placement, **changes)
    graded = page_of(chooser.land()).select_one("[name=graded]")
    assert (graded is not None) == offered
    assert bool(graded and graded.has_attr("checked")) == checked
    answer = chooser.post("/deep-link", {"experience": experience_id, "graded": "y", "points": "100"})
    (item,) = items_of(app, sandbox, answer)
    assert ("lineItem" in item) == offered
    ungraded = chooser.post("/deep-link", {"experience": experience_id, "points": "nonsense"})
    assert "lineItem" not in items_of(app, sandbox, ungraded)[0]


@pytest.mark.parametrize("points", ["", "0", "-1", "1e400", "nan", "ten", "10001"])
def test_points_that_are_none_are_refused_at_the_field(
    app: Flask, sandbox: Sandbox, teacher: Visitor, points: str
) -> None:
    experience_id = teacher.write_experience()
    answer = come_to_choose(app, sandbox).post(
        "/deep-link", {"experience": experience_id, "graded": "y", "points": points}
    )
    page = page_of(answer)
    assert answer.status_code == 400
    assert "above 0, at most 10000" in page.select_one("[data-testid=form-errors]").text
    assert page.select_one("[name=points]")["aria-invalid"] == "true"
    assert page.select_one("[name=points]")["value"] == points
    assert page.select_one("[name=experience]").has_attr("checked")


@pytest.mark.parametrize("chosen", [[], ["0"], ["nonsense"], ["²"], ["9" * 30]])
def test_a_choice_of_nothing_is_asked_again(
    app: Flask, sandbox: Sandbox, teacher: Visitor, chosen: list[str]
) -> None:
    teacher.write_experience()
    answer = come_to_choose(app, sandbox).post("/deep-link", {"experience": chosen})
    assert answer.status_code == 400
    assert "Nothing is added yet" in answer.text


def test_experiences_of_other_courses_and_deleted_ones_cannot_be_chosen(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    foreign = Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY).write_experience()
    deleted = teacher.write_experience()
    teacher.post(f"/experiences/{deleted}/delete")
    chooser = come_to_choose(app, sandbox, placement=SEVERAL)
    for experience_id in (foreign, deleted, 10**6):
        answer = chooser.post("/deep-link", {"experience": experience_id})
        assert answer.status_code == 400
        assert "An experience that you chose is no longer there." in answer.text


def test_what_students_would_not_see_can_be_published_on_the_way(
    app: Flask, sandbox: Sandbox, teacher: Visitor, student: Visitor
) -> None:
    experience_id = teacher.write_experience(publish=False)
    chooser = come_to_choose(app, sandbox)
    page = page_of(chooser.land())
    assert page.select_one("[data-testid=experience] .pill").text == "Unpublished"
    assert "Students do not see an unpublished experience" in page.text
    assert not page.select_one("[name=publish]").has_attr("checked")
    (link,) = put_into_course(sandbox, chooser.post("/deep-link", {"experience": experience_id}))
    opened = sandbox.launch("amara.diallo", BIOLOGY, resource_link=link)
    assert "Your teacher has not published it" in Visitor.open(app, sandbox, opened).land().text
    chooser.post("/deep-link", {"experience": experience_id, "publish": "y"})
    assert Visitor.open(app, sandbox, opened).land().status_code == 200
    assert page_of(chooser.get("/deep-link")).select_one("[name=publish]") is None


@pytest.mark.parametrize("accepted", [[], ["link", "file", "html"], [7, None, {}]])
def test_a_place_that_takes_no_links_says_so_and_leads_back(
    app: Flask, sandbox: Sandbox, teacher: Visitor, accepted: list[object]
) -> None:
    experience_id = teacher.write_experience()
    chooser = come_to_choose(app, sandbox, accept_types=accepted)
    refused = chooser.land()
    assert refused.status_code == 400
    assert "takes none" in refused.text
    assert page_of(refused).select_one("[data-testid=back]") is not None
    assert chooser.post("/deep-link", {"experience": experience_id}).status_code == 400
    message = message_of(app, sandbox, chooser.post("/deep-link/cancel"))
    assert message[DEEP_LINKING + "content_items"] == []
    assert "AI Experiences adds links" in message[DEEP_LINKING + "errormsg"]


@pytest.mark.parametrize(
    ("targets", "shown"),
    [
        (["iframe", "window"], {"iframe": {}}),
        (["embed", "window"], {"window": {"targetName": "_blank"}}),
        (["embed"], {}),
        (None, {}),
        ("window", {}),
    ],
)
def test_a_link_is_shown_where_the_platform_can(
    app: Flask, sandbox: Sandbox, teacher: Visitor, targets: object, shown: dict[str, object]
) -> None:
    experience_id = teacher.write_experience()
    chooser = come_to_choose(app, sandbox, accept_presentation_document_targets=targets)
    (item,) = items_of(app, sandbox, chooser.post("/deep-link", {"experience": experience_id}))
    assert {name: item[name] for name in ("iframe", "window") if name in item} == shown


def test_who_writes_no_more_adds_nothing(app: Flask, sandbox: Sandbox, teacher: Visitor) -> None:
    experience_id = teacher.write_experience()
    chooser = come_to_choose(app, sandbox)
    Visitor.launch(app, sandbox, "miriam.okafor", **{LTI + "roles": ["Learner"]})
    ended = chooser.land()
    assert ended.status_code == 401
    assert "Your role in this course has changed" in ended.text
    assert chooser.post("/deep-link", {"experience": experience_id}).status_code == 401
    assert chooser.post("/deep-link/cancel").status_code == 401


@pytest.mark.parametrize("who", ["priya.raman", "elena.petrova", "ingrid.bauer"])
def test_assistants_designers_and_administrators_choose(
    app: Flask, sandbox: Sandbox, teacher: Visitor, who: str
) -> None:
    experience_id = teacher.write_experience()
    answer = come_to_choose(app, sandbox, who).post("/deep-link", {"experience": experience_id})
    assert len(items_of(app, sandbox, answer)) == 1


def test_a_launch_of_another_kind_has_nothing_to_choose_for(teacher: Visitor) -> None:
    assert teacher.get("/deep-link").status_code == 404
    assert teacher.post("/deep-link", {"experience": teacher.write_experience()}).status_code == 404
    assert teacher.post("/deep-link/cancel").status_code == 404


@pytest.mark.parametrize("address", ["http://school.example/back", "http://127.0.0.1.school.example/"])
def test_an_answer_goes_to_safe_addresses_alone(
    app: Flask, sandbox: Sandbox, teacher: Visitor, address: str
) -> None:
    experience_id = teacher.write_experience()
    chooser = come_to_choose(app, sandbox, deep_link_return_url=address)
    answers = (
        chooser.land(),
        chooser.post("/deep-link", {"experience": experience_id}),
        chooser.post("/deep-link/cancel"),
    )
    for answer in answers:
        assert answer.status_code == 400
        assert "deep_link_return_url must begin with https" in answer.text
        assert page_of(answer).select("form") == []


def test_only_the_page_that_leads_back_may_post_to_a_platform(app: Flask, sandbox: Sandbox) -> None:
    chooser = come_to_choose(app, sandbox)
    policies = [
        response.headers["Content-Security-Policy"]
        for response in (chooser.land(), chooser.post("/deep-link/cancel"), chooser.get("/experiences"))
    ]
    assert ["form-action 'self';" in policy for policy in policies] == [True, False, True]
    assert "form-action http://127.0.0.1:* http://localhost:* https:;" in policies[1]


def test_an_answer_may_be_asked_for_again_and_again(app: Flask, sandbox: Sandbox, teacher: Visitor) -> None:
    experience_id = teacher.write_experience(publish=False)
    chooser = come_to_choose(app, sandbox)
    choice = {"experience": experience_id, "publish": "y"}
    answers = [chooser.post("/deep-link", choice) for _ in range(3)]
    assert len({message_of(app, sandbox, answer)["nonce"] for answer in answers}) == 3
    assert [len(put_into_course(sandbox, answer)) for answer in answers] == [1, 1, 1]


def test_one_may_be_written_on_the_way_and_comes_back_chosen(app: Flask, sandbox: Sandbox) -> None:
    chooser = come_to_choose(app, sandbox)
    empty = page_of(chooser.land())
    assert "Nothing here yet" in empty.text
    form = chooser.page(
        urlsplit(empty.select_one("[data-testid=new-experience]")["href"]).path[len(chooser.root) :]
    )
    assert {f"{chooser.root}/deep-link"} <= {link["href"] for link in form.select("main a")}
    mistaken = chooser.post("/experiences", EXPERIENCE | {"title": ""})
    assert mistaken.status_code == 400
    assert f'href="{chooser.root}/deep-link"' in mistaken.text
    saved = chooser.post("/experiences", EXPERIENCE)
    page = page_of(chooser.client.get(saved.location))
    (choice,) = page.select("[name=experience][checked]")
    answer = chooser.post("/deep-link", {"experience": choice["value"], "publish": "y"})
    assert items_of(app, sandbox, answer)[0]["title"] == EXPERIENCE["title"]


def test_the_launchs_other_pages_work_and_lead_back_to_the_choice(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    chooser = come_to_choose(app, sandbox)
    page = chooser.page("/experiences")
    assert page.select_one("[data-testid=choose]")["href"] == f"{chooser.root}/deep-link"
    assert chooser.page(f"/experiences/{experience_id}/edit").select_one("[name=title]")["value"]
    assert teacher.page("/experiences").select("[data-testid=choose]") == []


def test_markup_in_what_a_teacher_wrote_is_shown_as_text_to_choose(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    experience_id = teacher.write_experience(title=hostile, description=f"{hostile} &lt;b&gt; " + "x" * 5000)
    chooser = come_to_choose(app, sandbox)
    shown = chooser.land()
    assert page_of(shown).select("main img") == []
    assert escape(hostile) in shown.text
    (item,) = items_of(app, sandbox, chooser.post("/deep-link", {"experience": experience_id}))
    assert item["title"] == hostile
    assert item["text"].startswith(f"{hostile} <b> xxx")
    assert len(item["text"]) == 300


def test_choosing_takes_the_same_number_of_queries_however_many_there_are(
    app: Flask, sandbox: Sandbox, teacher: Visitor, count_queries: Any
) -> None:
    chooser = come_to_choose(app, sandbox)
    teacher.write_experience()
    few = count_queries(lambda: chooser.get("/deep-link"))
    for _ in range(5):
        teacher.write_experience()
    assert count_queries(lambda: chooser.get("/deep-link")) == few


def open_link(
    app: Flask, sandbox: Sandbox, who: str, experience_id: object, course: int = BIOLOGY
) -> Visitor:
    """Open a link to an experience that is embedded in a course."""
    link = sandbox.links.add(
        sandbox.course(course),
        title="An experience",
        url=f"http://localhost:8000/lti/launch?experience={experience_id}",
        place=Place.MODULES,
    )
    return Visitor.open(app, sandbox, sandbox.launch(who, course, resource_link=link))


@pytest.mark.parametrize(
    ("who", "page"),
    [
        ("miriam.okafor", ""),
        ("elena.petrova", ""),
        ("ingrid.bauer", ""),
        ("amara.diallo", "/conversation"),
        ("test.student.1101", "/conversation"),
        ("grace.diallo", "/conversation"),
    ],
)
def test_an_embedded_link_goes_straight_to_the_experience(
    app: Flask, sandbox: Sandbox, teacher: Visitor, who: str, page: str
) -> None:
    experience_id = teacher.write_experience()
    visitor = open_link(app, sandbox, who, experience_id)
    landed = visitor.land()
    assert landed.status_code == 200
    assert landed.request.path == f"{visitor.root}/experiences/{experience_id}{page}"
    assert EXPERIENCE["title"] in landed.text


@pytest.mark.parametrize("who", ["amara.diallo", "grace.diallo"])
def test_a_link_to_an_unpublished_experience_says_so_to_all_but_its_writers(
    app: Flask, sandbox: Sandbox, teacher: Visitor, who: str
) -> None:
    experience_id = teacher.write_experience(publish=False)
    refused = open_link(app, sandbox, who, experience_id).land()
    assert refused.status_code == 403
    assert "Your teacher has not published it" in refused.text
    assert EXPERIENCE["title"] not in refused.text
    assert open_link(app, sandbox, "miriam.okafor", experience_id).land().status_code == 200


@pytest.mark.parametrize("who", ["miriam.okafor", "amara.diallo"])
def test_a_link_reveals_nothing_of_what_is_not_this_courses(
    app: Flask, sandbox: Sandbox, teacher: Visitor, who: str
) -> None:
    deleted = teacher.write_experience()
    teacher.post(f"/experiences/{deleted}/delete")
    foreign = Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY).write_experience()
    other = sandbox.install("Another school")
    with app.extensions["database"].transaction() as db:
        entry = PlatformEntry.model_validate(registration(sandbox.config, other))
        save_platform(db, sandbox.config.issuer, entry, RegistrationSource.COMMAND)
        assert len(db.exec(select(Platform)).all()) == 2
    elsewhere = sandbox.launch("miriam.okafor", BIOLOGY, client_id=other.client_id)
    at_another = Visitor.open(app, sandbox, elsewhere).write_experience()
    messages = set()
    unknown = [foreign, at_another, 999_999_999]
    if who == "miriam.okafor":  # who could have deleted it
        assert "This experience was deleted" in open_link(app, sandbox, who, deleted).land().text
    else:
        unknown.append(deleted)
    for experience_id in unknown:
        answer = open_link(app, sandbox, who, experience_id).land()
        assert answer.status_code == 404
        messages.add(page_of(answer).select_one("[data-testid=error-message]").text)
    assert len(messages) == 1


@pytest.mark.parametrize("experience_id", ["0", "-1", "9" * 30, "abc", "1.5", ""])
def test_a_link_that_names_no_experience_opens_the_list(
    app: Flask, sandbox: Sandbox, teacher: Visitor, experience_id: str
) -> None:
    teacher.write_experience()
    visitor = open_link(app, sandbox, "miriam.okafor", experience_id)
    assert visitor.land().request.path == f"{visitor.root}/experiences"
    assert visitor.get(f"/open?experience={experience_id}").status_code == 404
