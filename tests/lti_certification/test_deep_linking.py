"""Deep linking: teachers choose experiences, and the platform gets a signed answer (LTI Deep Linking 2.0)."""

from typing import Any

import jwt
import pytest

from app.sandbox import MessageType
from app.sandbox.deep_linking import SETTINGS
from app.sandbox.people import Course
from app.sandbox.platform import ABSENT
from tests.lti_certification.vocabulary import (
    OBSERVER,
    STUDENT,
    STUDENT_VIEW,
    TEACHER,
    Answer,
    Browser,
    Inside,
    accepted,
    cases,
    refused,
    text_of,
)

DEEP_LINKING = "https://purl.imsglobal.org/spec/lti-dl/claim/"
ONE, SEVERAL = "assignment_selection", "module_index_menu_modal"


def ask(browser: Browser, course: Course, placement: str = ONE, who: str = TEACHER, **changes: Any) -> Answer:
    """Have somebody come by a deep linking request."""
    kind = MessageType.DEEP_LINKING
    login = browser.platform.login(who, course.canvas_id, message_type=kind, placement=placement)
    return browser.launch(login, **changes)


def give_back(inside: Inside, **choice: Any) -> dict[str, Any]:
    """Choose, bring the answer to the platform, which takes it, and return its claims."""
    answer = inside.send("/deep-link", **choice)
    form = Answer(inside.browser, answer, 0).page.select_one("form[data-pass-on]")
    assert form is not None
    token = str(form.select("[name=JWT]")[0]["value"])
    assert inside.browser.post(str(form["action"]), {"JWT": token}).status_code == 200
    return jwt.decode(token, options={"verify_signature": False})


@pytest.fixture
def experience_ids(browser: Browser, course: Course) -> list[int]:
    teacher = browser.enter(TEACHER, course.canvas_id)
    return [teacher.write_experience() for _ in range(2)]


def test_accept_types_holding_lti_resource_link_lets_a_teacher_add_a_link_that_opens_the_experience(
    browser: Browser, course: Course, experience_ids: list[int]
) -> None:
    give_back(accepted(ask(browser, course)), experience=experience_ids[0])
    (link,) = browser.platform.sandbox.links.of(course)
    opened = browser.launch(browser.platform.login(STUDENT, course.canvas_id, resource_link=link))
    inside = accepted(opened)
    landed = browser.get(browser.tool.url + opened.location, follow=True)
    assert landed.url == f"{inside.root}/experiences/{experience_ids[0]}/conversation"


def test_accept_multiple_lets_a_teacher_add_several(
    browser: Browser, course: Course, experience_ids: list[int]
) -> None:
    give_back(accepted(ask(browser, course, SEVERAL)), experience=experience_ids)
    assert len(browser.platform.sandbox.links.of(course)) == 2


def test_without_accept_multiple_one_is_taken(
    browser: Browser, course: Course, experience_ids: list[int]
) -> None:
    chooser = accepted(ask(browser, course, ONE))
    assert chooser.post("/deep-link", experience=experience_ids).status_code == 400


def test_a_line_item_is_made_where_it_is_allowed_and_asked_for(
    browser: Browser, course: Course, experience_ids: list[int]
) -> None:
    give_back(accepted(ask(browser, course)), experience=experience_ids[0], graded="y", points="20")
    (column,) = browser.platform.sandbox.gradebook.line_items(course)
    assert (column.score_maximum, column.resource_id) == (20, f"experience-{experience_ids[0]}")


@pytest.mark.parametrize(
    "data", ["opaque", "", "é€", "x" * 20_000], ids=["text", "empty", "not ASCII", "long"]
)
def test_data_returns_unchanged(
    browser: Browser, course: Course, experience_ids: list[int], data: str
) -> None:
    sandbox = browser.platform.sandbox
    wish = sandbox.launch(TEACHER, course, message_type=MessageType.DEEP_LINKING, placement=ONE)
    settings = sandbox.claims_of(wish, nonce="")[SETTINGS] | {"data": data}
    chooser = accepted(ask(browser, course, **{SETTINGS: settings}))
    answer = Answer(browser, chooser.send("/deep-link", experience=experience_ids[0]), 0)
    (token,) = (field["value"] for field in answer.page.select("form[data-pass-on] [name=JWT]"))
    assert jwt.decode(str(token), options={"verify_signature": False})[DEEP_LINKING + "data"] == data


def test_the_answer_verifies_and_says_what_deep_linking_asks_for(
    browser: Browser, course: Course, experience_ids: list[int]
) -> None:
    config = browser.platform.sandbox.config
    claims = give_back(accepted(ask(browser, course)), experience=experience_ids[0])
    assert (claims["iss"], claims["aud"]) == (config.client_id, [config.issuer])
    assert {"exp", "iat", "nonce"} <= set(claims)


@cases("who", {"student": STUDENT, "observer": OBSERVER, "student view": STUDENT_VIEW})
def test_refused_to_choose_for_a(browser: Browser, who: str) -> None:
    page = refused(
        ask(browser, browser.platform.sandbox.course(1101), who=who), "deep linking by", status=403
    )
    assert "Only those who write experiences" in page.text


@cases(
    "wish",
    {
        "missing": ABSENT,
        "without a return address": {"accept_types": ["ltiResourceLink"]},
        "with a return address that is none": {
            "accept_types": [],
            "deep_link_return_url": "javascript:alert(1)",
        },
        "with a return address without a host": {
            "accept_types": [],
            "deep_link_return_url": "https:///back",
        },
        "with a return address that breaks off": {
            "accept_types": [],
            "deep_link_return_url": "http://[::1",
        },
        "without accept_types": {"deep_link_return_url": "https://lms.example/"},
    },
)
def test_refused_for_settings(browser: Browser, course: Course, wish: object) -> None:
    refused(ask(browser, course, **{SETTINGS: wish}), "deep linking settings")


def test_accept_types_without_lti_resource_link_is_explained(browser: Browser, course: Course) -> None:
    settings = {
        "accept_types": ["file"],
        "deep_link_return_url": f"{browser.platform.sandbox.config.url}/back",
    }
    answer = ask(browser, course, **{SETTINGS: settings})
    page = browser.visit(answer.location)
    assert page.response.status_code == 400
    assert "takes none" in text_of(page.page, "[data-testid=error-message]")
