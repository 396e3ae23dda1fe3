"""Canvas's roles, by what the pages show to those who have them."""

from collections.abc import Sequence

import pytest

from app.sandbox import ABSENT
from tests.lti_certification.vocabulary import (
    ADMINISTRATOR,
    ASSISTANT,
    CLAIM,
    DESIGNER,
    INSTITUTION,
    MEMBERSHIP,
    OBSERVER,
    ROSTER,
    STUDENT,
    STUDENT_VIEW,
    TEACHER,
    Browser,
    Inside,
    accepted,
    cases,
    refused,
)

EVERYTHING = {"writes experiences", "sees the class", "may converse"}
SHOWN = {
    "Teacher": (TEACHER, EVERYTHING),
    "TA": (ASSISTANT, EVERYTHING),
    "Designer": (DESIGNER, {"writes experiences", "may converse"}),
    "Student": (STUDENT, {"may converse"}),
    "Observer": (OBSERVER, set()),
    "Student View": (STUDENT_VIEW, {"may converse"}),
    "Account admin without a course role": (ADMINISTRATOR, EVERYTHING),
}


def shown(inside: Inside, experience_id: int) -> set[str]:
    """What somebody sees of an experience."""
    about = inside.get(f"/experiences/{experience_id}")
    chat = inside.page(f"/experiences/{experience_id}/conversation")
    seen = {
        "writes experiences": inside.page().select("[data-testid=new-experience]") and about.ok,
        "sees the class": "data-class-list" in about.text,
        "may converse": chat.select("[data-testid=start]"),
    }
    return {what for what, found in seen.items() if found}


@pytest.fixture
def experience_id(browser: Browser) -> int:
    return browser.enter(TEACHER, **{ROSTER: ABSENT}).write_experience()


@cases(("who", "expected"), SHOWN)
def test_canvas_role(browser: Browser, experience_id: int, who: str, expected: set[str]) -> None:
    assert shown(browser.enter(who), experience_id) == expected


ROLES = {
    "institution Instructor with course Learner is a student": (
        [INSTITUTION + "Instructor", MEMBERSHIP + "Learner"],
        SHOWN["Student"],
    ),
    "institution Administrator with course Learner is a student": (
        [INSTITUTION + "Administrator", MEMBERSHIP + "Learner"],
        SHOWN["Student"],
    ),
    "an Instructor of another vocabulary with course Learner is a student": (
        ["urn:someone/else#Instructor", MEMBERSHIP + "Learner"],
        SHOWN["Student"],
    ),
    "Learner and Instructor is a teacher": (
        [MEMBERSHIP + "Learner", MEMBERSHIP + "Instructor"],
        SHOWN["Teacher"],
    ),
    "the TA's sub-role alone is a teacher": (
        ["http://purl.imsglobal.org/vocab/lis/v2/membership/Instructor#TeachingAssistant"],
        SHOWN["TA"],
    ),
    "short-form Mentor is an observer": (["Mentor"], SHOWN["Observer"]),
    "short-form ContentDeveloper is a designer": (["ContentDeveloper"], SHOWN["Designer"]),
}


@cases(("roles", "like"), ROLES)
def test_roles_claim(
    browser: Browser, experience_id: int, roles: Sequence[str], like: tuple[str, set[str]]
) -> None:
    # Without a roster, which would say what the platform really holds the person for.
    somebody = browser.enter(STUDENT, **{CLAIM + "roles": roles, ROSTER: ABSENT})
    assert shown(somebody, experience_id) == like[1]


def test_student_view_is_kept_out_of_every_figure(browser: Browser, experience_id: int) -> None:
    student = browser.enter(STUDENT_VIEW)
    assert student.post(f"/experiences/{experience_id}/conversations", instead_of="0").status_code == 303
    page = browser.enter(TEACHER, **{ROSTER: ABSENT}).page(f"/experiences/{experience_id}")
    assert page.select("[data-testid=student-row], [data-testid=counts]") == []


def test_an_observer_opens_no_chat(browser: Browser, experience_id: int) -> None:
    observer = browser.enter(OBSERVER)
    assert observer.post(f"/experiences/{experience_id}/conversations", instead_of="0").status_code == 403


def test_one_who_teaches_elsewhere_in_the_institution_may_not_open_the_course_as_a_teacher(
    browser: Browser,
) -> None:
    refused(browser.launch(**{CLAIM + "roles": [INSTITUTION + "Instructor", "urn:x#y"]}), "roles")
    accepted(browser.launch())
