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


@pytest.fixture
def assignment(sandbox):
    course = sandbox.course(1101)
    link = sandbox.links.add(course, title="Chat", url="http://localhost:8000/lti/launch?experience=7")
    fields = {"label": "Chat with Kim", "score_maximum": 10, "resource_link_id": link.id}
    return sandbox.gradebook.add_line_item(course, fields)


def launched(client, sandbox, page):
    """The launch that a page with a login form begins."""
    form = soup(page).select_one("[data-testid=login-form]")
    fields = {field["name"]: field["value"] for field in form.find_all("input")}
    return sandbox.read_hint(fields["lti_message_hint"])[0]


@pytest.mark.parametrize("path", ["assignments", "modules", "pages/welcome"])
def test_content_pages_offer_the_tool_to_those_who_may_edit(client, path):
    teacher, student = (
        soup(client.get(f"/courses/1101/{path}?as={login}")) for login in ("elena.petrova", "amara.diallo")
    )
    for page in (teacher, student):
        assert len(page.select("h1")) == 1
        assert not page.select("style, [style], [onclick], script:not([src])")
    offered = [link["href"] for link in teacher.select(".toolbar a")]
    assert offered
    assert all(client.get(url).status_code == 200 for url in offered)
    assert not student.select(".toolbar")


@pytest.mark.parametrize(
    ("placement", "page"),
    [
        ("assignment_selection", "assignments"),
        ("link_selection", "modules"),
        ("module_index_menu_modal", "modules"),
        ("editor_button", "pages/welcome"),
    ],
)
def test_choosing_from_the_tool_is_deep_linking(client, sandbox, placement, page):
    path = "/courses/1101/external_tools/1/resource_selection"
    shown = client.get(path, query_string={"as": "miriam.okafor", "launch_type": placement})
    launch = launched(client, sandbox, shown)
    assert (launch.message_type, launch.placement) == ("LtiDeepLinkingRequest", placement)
    assert launch.target_link_uri == "http://localhost:8000/lti/deep-link"
    assert soup(shown).select_one("[data-testid=cancel]")["href"].startswith(f"/courses/1101/{page}?")
    refused = client.get(path, query_string={"as": "amara.diallo", "launch_type": placement})
    assert refused.status_code == 403
    assert "may not open this page" in refused.text
    assert client.get(f"{path}?as=miriam.okafor&launch_type=other").status_code == 404


@pytest.mark.parametrize("login", ["miriam.okafor", "amara.diallo"])
def test_an_assignment_opens_the_tool_with_its_link_and_column(client, sandbox, assignment, login):
    page = soup(client.get(f"/courses/1101/assignments?as={login}"))
    (entry,) = page.select("[data-testid=assignments] a")
    launch = launched(client, sandbox, client.get(entry["href"]))
    assert launch.line_item == assignment
    assert launch.resource_link.id == assignment.resource_link_id
    assert launch.target_link_uri == "http://localhost:8000/lti/launch?experience=7"


def test_a_column_without_a_link_is_listed_and_opens_nothing(client, graded):
    page = soup(client.get("/courses/1101/assignments?as=amara.diallo"))
    assert "Lab interview" in page.select_one("[data-testid=assignments]").get_text()
    assert not page.select("[data-testid=assignments] a")
    assert client.get("/courses/1101/assignments/1?as=amara.diallo").status_code == 404


def record(sandbox, item):
    amara = sandbox.person("amara.diallo")
    submission = {
        "submission_type": "basic_lti_launch",
        "submission_data": "http://localhost:8000/transcripts/5",
    }
    moment = datetime(2026, 2, 3, tzinfo=UTC)
    score = Score(item.id, amara, moment, "Completed", "FullyGraded", 8, 10, None, submission)
    return sandbox.gradebook.record(item, score)


def test_an_opened_submission_carries_the_assignments_link_and_column(client, sandbox, assignment):
    record(sandbox, assignment)
    page = soup(client.get("/courses/1101/grades?as=miriam.okafor"))
    launch = launched(client, sandbox, client.get(page.select_one("[data-testid=open-submission]")["href"]))
    assert launch.target_link_uri == "http://localhost:8000/transcripts/5"
    assert launch.line_item == assignment
    assert launch.resource_link.id == assignment.resource_link_id


def test_a_review_is_the_standards_message_and_for_graders(client, sandbox, assignment):
    record(sandbox, assignment)
    page = soup(client.get("/courses/1101/grades?as=priya.raman"))
    url = page.select_one("[data-testid=review]")["href"]
    launch = launched(client, sandbox, client.get(url))
    assert launch.message_type == "LtiSubmissionReviewRequest"
    assert launch.for_user == sandbox.person("amara.diallo")
    assert launch.line_item == assignment
    own = soup(client.get("/courses/1101/grades?as=amara.diallo"))
    assert not own.select("[data-testid=review]")
    assert client.get(url.replace("priya.raman", "amara.diallo")).status_code == 403


def test_a_copied_course_imports_the_links_of_the_old_one(client, sandbox, assignment):
    home = soup(client.get("/courses/1103?as=miriam.okafor"))
    form = home.select_one("[data-testid=copy-content]").find_parent("form")
    assert client.post(form["action"]).status_code == 303
    copied = soup(client.get("/courses/1103/assignments?as=kenji.watanabe"))
    assert "Chat with Kim" in copied.select_one("[data-testid=assignments]").get_text()
    assert not soup(client.get("/courses/1103?as=kenji.watanabe")).select("[data-testid=copy-content]")
    assert client.post("/courses/1103/content_migrations?as=kenji.watanabe").status_code == 403
    assert client.post("/courses/1101/content_migrations?as=miriam.okafor").status_code == 403


def test_a_second_tool_has_its_own_place_in_the_navigation(client, sandbox):
    other = sandbox.install("AI Experiences")
    page = soup(client.get("/courses/1101?as=amara.diallo"))
    link = page.select_one("[data-testid=nav-tool-2]")
    assert link.get_text() == "AI Experiences (2)"
    assert launched(client, sandbox, client.get(link["href"])).client_id == other.client_id
    assert client.get("/courses/1101/external_tools/3?as=amara.diallo").status_code == 404


@pytest.mark.parametrize(("storage", "frames"), [("offered", 1), ("silent", 1), ("off", 0)])
def test_an_address_may_say_how_platform_storage_behaves(client, storage, frames):
    page = soup(client.get(f"/courses/1101/external_tools/1?as=amara.diallo&storage={storage}"))
    assert len(page.select("iframe[name=post_message_forwarding]")) == frames
    assert bool(page.select("[name=lti_storage_target]")) == bool(frames)
    assert page.select_one("[data-tool-frame]")["data-storage"] == storage
    assert f"storage={storage}" in page.select_one("[data-testid=open-in-new-tab]")["href"]
