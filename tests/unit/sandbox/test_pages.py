"""The pages that look like Canvas."""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from bs4 import BeautifulSoup

from app.sandbox.gradebook import Score


def soup(answer):
    assert answer.status_code == 200
    return BeautifulSoup(answer.text, "html.parser")


@pytest.fixture
def graded(sandbox):
    """One column in which Amara has a number and an address."""
    course, amara = sandbox.course(1101), sandbox.person("amara.diallo")
    item = sandbox.gradebook.add_line_item(course, {"label": "Lab interview", "score_maximum": 20})
    submission = {
        "submission_type": "basic_lti_launch",
        "submission_data": "http://localhost:8000/transcripts/5",
    }
    moment = datetime(2026, 2, 3, tzinfo=UTC)
    score = Score(item.id, amara, moment, "Completed", "FullyGraded", 8, 10, "<b>Fine</b>", submission)
    return sandbox.gradebook.record(item, score)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/courses/1101",
        "/courses/1101/users",
        "/courses/1101/grades",
        "/courses/1101/external_tools/1",
        "/courses/1101/announcements",
        "/calendar",
    ],
)
def test_page_renders_with_the_person_switcher_and_nothing_inline(client, path):
    page = soup(client.get(f"{path}?as=amara.diallo"))
    assert "not Canvas" in page.select_one(".sandbox-bar").get_text()
    chosen = page.select_one("[data-testid=person-select] option[selected]")
    assert chosen["value"] == "amara.diallo"
    assert len(page.select("[data-testid=course-select] option")) == 3
    assert not page.select("style, [style], [onclick], script:not([src])")
    assert len(page.select("h1")) == 1


def test_pages_allow_no_inline_code_and_only_the_tool_in_frames(client):
    policy = client.get("/?as=amara.diallo").headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "frame-src 'self' http://localhost:8000;" in policy
    assert "unsafe" not in policy


def test_address_without_a_person_leads_to_the_teacher(client):
    answer = client.get("/courses/1101/users?x=1")
    assert answer.headers["Location"] == "/courses/1101/users?x=1&as=miriam.okafor"


def test_every_link_keeps_the_person(client):
    page = soup(client.get("/courses/1101?as=liam.oconnor"))
    links = [link["href"] for link in page.select("a[href^='/']")]
    assert links
    assert all(parse_qs(urlsplit(link).query)["as"] == ["liam.oconnor"] for link in links)
    assert "Set-Cookie" not in client.get("/courses/1101?as=liam.oconnor").headers


def test_switching_stays_on_the_page_where_it_can(client):
    def led(**query):
        return client.get("/switch", query_string=query).headers["Location"]

    assert led(**{"as": "mai.nguyen"}, course=1102, section="grades") == "/courses/1102/grades?as=mai.nguyen"
    assert led(**{"as": "mai.nguyen"}, course=1101, section="elsewhere") == "/courses/1101?as=mai.nguyen"


def test_course_of_others_is_403_and_still_lets_one_switch(client):
    answer = client.get("/courses/1102?as=liam.oconnor")
    assert answer.status_code == 403
    assert "Liam O&#39;Connor is not in HIS-205" in answer.text
    assert "person-select" in answer.text


@pytest.mark.parametrize(
    "path", ["/courses/1?as=amara.diallo", "/?as=nobody", "/nowhere", "/switch?as=amara.diallo"]
)
def test_unknown_place_or_person_is_a_404_page(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Sandbox" in answer.text


def test_item_that_is_not_built_says_so(client):
    assert "not part of the sandbox" in client.get("/courses/1101/announcements?as=amara.diallo").text


def test_people_shows_the_roster(client):
    page = soup(client.get("/courses/1101/users?as=amara.diallo"))
    rows = [row.get_text(" ", strip=True) for row in page.select("[data-testid=roster] tbody tr")]
    assert len(rows) == 13
    assert any(row.startswith("Mateus Silva Student") and row.endswith("Inactive") for row in rows)


def test_teacher_sees_everybodys_grades(client, graded):
    page = soup(client.get("/courses/1101/grades?as=miriam.okafor"))
    table = page.select_one("[data-testid=gradebook]")
    assert len(table.select("tbody tr")) == 7
    row = next(row for row in table.select("tbody tr") if "Diallo, Amara" in row.get_text())
    assert "16" in row.get_text()
    assert "<b>Fine</b>" in row.get_text()
    assert "external_tools/retrieve" in row.find("a")["href"]


@pytest.mark.parametrize("login", ["amara.diallo", "grace.diallo"])
def test_student_and_observer_see_the_students_own_grades(client, graded, login):
    page = soup(client.get(f"/courses/1101/grades?as={login}"))
    (row,) = page.select("[data-testid=gradebook] tbody tr")
    assert "Diallo, Amara" in row.get_text()


@pytest.mark.parametrize("login", ["elena.petrova", "test.student.1101"])
def test_others_see_no_grades(client, graded, login):
    assert "no grades" in client.get(f"/courses/1101/grades?as={login}").text


def test_tool_page_posts_the_login_initiation_into_the_frame(client, sandbox):
    page = soup(client.get("/courses/1101/external_tools/1?as=amara.diallo"))
    form = page.select_one("[data-testid=login-form]")
    frame = page.select_one("[data-testid=tool-frame]")
    fields = {field["name"]: field["value"] for field in form.find_all("input")}
    assert (form["action"], form["method"]) == ("http://localhost:8000/lti/login", "post")
    assert form["target"] == frame["name"]
    assert frame["title"] == "AI Experiences"
    assert "microphone http://localhost:8000" in frame["allow"]
    assert fields["iss"] == sandbox.config.issuer
    assert fields["login_hint"] == sandbox.person("amara.diallo").lti11_id
    assert fields["lti_deployment_id"] == fields["deployment_id"] == sandbox.config.deployment_id
    assert fields["target_link_uri"] == "http://localhost:8000/lti/launch"
    assert fields["canvas_environment"] == "prod"
    storage = page.select_one(f"iframe[name={fields['lti_storage_target']}]")
    assert storage["src"] == "/post_message_forwarding"
    assert client.get(storage["src"]).status_code == 200


def test_new_tab_is_the_same_launch_without_a_frame(client):
    page = soup(client.get("/courses/1101/external_tools/1?as=amara.diallo"))
    again = soup(client.get(page.select_one("[data-testid=open-in-new-tab]")["href"]))
    assert again.find("iframe") is None
    assert "target" not in again.select_one("[data-testid=login-form]").attrs


def test_submission_opens_at_the_address_that_the_tool_gave(client, graded):
    page = soup(client.get("/courses/1101/grades?as=miriam.okafor"))
    opened = soup(client.get(page.select_one("[data-testid=gradebook] a")["href"]))
    assert opened.select_one("[name=target_link_uri]")["value"] == "http://localhost:8000/transcripts/5"
    assert "url=http" in opened.select_one("[data-testid=open-in-new-tab]")["href"]


@pytest.mark.parametrize("url", ["https://evil.example/", "http://localhost:8000.evil.example/", ""])
def test_address_of_another_host_is_not_opened(client, url):
    query = {"as": "miriam.okafor", "url": url}
    assert client.get("/courses/1101/external_tools/retrieve", query_string=query).status_code == 404


def test_return_address_of_a_launch_works_and_shows_messages_as_text(client, sandbox):
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n")
    url = claims["https://purl.imsglobal.org/spec/lti/claim/launch_presentation"]["return_url"]
    answer = client.get(url.removeprefix(sandbox.config.url) + "&lti_msg=<b>Bye</b>")
    assert "&lt;b&gt;Bye&lt;/b&gt;" in answer.text
    assert soup(answer).find("a", target="_top")["href"] == "/courses/1101?as=amara.diallo"


def test_pictures_theme_and_scripts_are_served(client, sandbox):
    picture = sandbox.launch_claims("mai.nguyen", 1101, nonce="n")["picture"]
    assert client.get(picture.removeprefix(sandbox.config.url)).mimetype == "image/svg+xml"
    assert client.get("/images/thumbnails/1.svg").status_code == 404
    assert client.get("/brand_config.json").headers["Access-Control-Allow-Origin"] == "*"
    page = client.get("/courses/1101/external_tools/1?as=amara.diallo").text
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        assert client.get(path, buffered=True).status_code == 200
