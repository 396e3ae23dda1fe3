"""The roster: all of its pages, from a platform that is busy or down too (NRPS 2.0)."""

import json
from typing import Any

from bs4 import BeautifulSoup
from sqlmodel import col, select

from app.database import utc_now
from app.lti.models import CourseServices
from app.sandbox.people import Course
from tests.lti_certification.vocabulary import (
    STUDENT,
    TEACHER,
    Browser,
    Inside,
    Platform,
    Tool,
    cases,
    eventually,
    text_of,
)

ROSTER_PATH = "names_and_roles"


def open_class(browser: Browser, course: Course) -> tuple[Inside, str]:
    teacher = browser.enter(TEACHER, course.canvas_id)
    return teacher, f"/experiences/{teacher.write_experience()}"


def read_class(teacher: Inside, path: str) -> BeautifulSoup:
    """Open the class and wait until its list has been read, or could not be."""

    def look() -> BeautifulSoup | None:
        page = teacher.page(path)
        return None if page.select("[data-reading]") else page

    return eventually(look)


def students(page: BeautifulSoup) -> int:
    return len(page.select("[data-testid=student-row]"))


def requests_for_it(platform: Platform) -> int:
    return sum(request.path.endswith(ROSTER_PATH) for request in platform.sandbox.requests)


def test_roster_of_0_people(browser: Browser, platform: Platform, course: Course) -> None:
    platform.sandbox.fail_next(200, body=json.dumps({"members": []}), path_contains=ROSTER_PATH)
    assert students(read_class(*open_class(browser, course))) == 0


def test_roster_of_1_person(browser: Browser, platform: Platform, course: Course) -> None:
    alone = {"user_id": platform.sandbox.person(STUDENT).sub, "roles": ["Learner"], "status": "Active"}
    platform.sandbox.fail_next(200, body=json.dumps({"members": [alone]}), path_contains=ROSTER_PATH)
    assert students(read_class(*open_class(browser, course))) == 1


def test_roster_of_2500_people_over_many_pages(browser: Browser, platform: Platform, course: Course) -> None:
    platform.sandbox.directory.add_students(course, 2498)
    assert students(read_class(*open_class(browser, course))) == 2499
    assert requests_for_it(platform) == 50


def test_link_rel_next_on_another_host_is_not_followed(
    browser: Browser, platform: Platform, another_platform: Platform, course: Course
) -> None:
    platform.sandbox.directory.add_students(course, 60)
    platform.sandbox.links_to = another_platform.sandbox.config.url
    page = read_class(*open_class(browser, course))
    assert "another address" in text_of(page, "[data-testid=roster]")
    assert another_platform.sandbox.requests == ()


def test_endpoint_401_once_has_the_token_renewed_once(
    browser: Browser, platform: Platform, course: Course
) -> None:
    platform.sandbox.fail_next(401, path_contains=ROSTER_PATH)
    assert students(read_class(*open_class(browser, course))) == 1
    tokens = [request for request in platform.sandbox.requests if request.path.endswith("/oauth2/token")]
    assert (len(tokens), requests_for_it(platform)) == (2, 2)


LATER: dict[str, tuple[dict[str, Any], int]] = {
    "429 with Retry-After is waited for": ({"status": 429, "headers": {"Retry-After": "1000"}}, 990),
    "500 is tried later": ({"status": 500}, 30),
}


@cases(("outage", "seconds"), LATER)
def test_endpoint(
    browser: Browser, tool: Tool, platform: Platform, course: Course, outage: dict[str, Any], seconds: int
) -> None:
    platform.sandbox.fail_next(**outage, path_contains=ROSTER_PATH)
    teacher, path = open_class(browser, course)
    assert students(read_class(teacher, path)) == 0
    assert requests_for_it(platform) == 1
    with tool.database.snapshot() as db:
        due_at = db.exec(select(CourseServices.roster_due_at).where(col(CourseServices.roster_due_at))).one()
    assert (due_at - utc_now()).total_seconds() > seconds
    tool.let_time_pass()
    eventually(lambda: students(read_class(teacher, path)) == 1)


def test_a_student_asks_for_no_roster(browser: Browser, platform: Platform, course: Course) -> None:
    browser.enter(STUDENT, course.canvas_id).page()
    assert requests_for_it(platform) == 0
