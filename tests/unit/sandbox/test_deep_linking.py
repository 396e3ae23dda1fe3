"""What a tool returns from deep linking, and what becomes of it in the course."""

import time

import pytest
from bs4 import BeautifulSoup
from cryptography.hazmat.primitives.asymmetric import rsa

from app.sandbox import MessageType
from app.sandbox.claims import AGS, LTI
from app.sandbox.deep_linking import DEEP_LINKING, SETTINGS

TOOL = "http://localhost:8000"
ITEM = {
    "type": "ltiResourceLink",
    "url": f"{TOOL}/lti/launch?experience=7",
    "title": "Talk with Kim",
    "text": "Ten minutes",
    "custom": {"experience": "7"},
}
GRADED = {
    **ITEM,
    "lineItem": {"scoreMaximum": 20, "label": "Kim's bill", "resourceId": "exp-7", "tag": "chat"},
}


def soup(answer):
    assert answer.status_code == 200
    return BeautifulSoup(answer.text, "html.parser")


@pytest.fixture
def settings(sandbox):
    def ask(placement="assignment_selection", login="miriam.okafor", course=1101):
        options = {"message_type": MessageType.DEEP_LINKING, "placement": placement}
        return sandbox.launch_claims(login, course, nonce="n", **options)[SETTINGS]

    return ask


@pytest.fixture
def send(client, config):
    def post(settings, token):
        return client.post(settings["deep_link_return_url"].removeprefix(config.url), data={"JWT": token})

    return post


@pytest.fixture
def choose(settings, send, tool):
    def answer(placement, *items, **claims):
        asked = settings(placement)
        return send(asked, tool.deep_linking_response(asked, *items, **claims))

    return answer


def reason_of(answer):
    assert answer.status_code == 400
    return BeautifulSoup(answer.text, "html.parser").select_one("[data-testid=reason]").get_text()


def test_an_assignment_gets_a_column_and_a_resource_link(client, sandbox, choose):
    page = soup(choose("assignment_selection", GRADED))
    assert page.select_one("[data-testid=added]").get_text(strip=True) == "Talk with Kim"
    assert page.select_one("[data-leave]")["href"].startswith("/courses/1101/assignments?")
    (item,) = sandbox.gradebook.line_items(sandbox.course(1101))
    assert (item.label, item.score_maximum, item.resource_id, item.tag) == ("Kim's bill", 20, "exp-7", "chat")
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n", line_item=item)
    assert claims[f"{LTI}/resource_link"] == {
        "id": item.resource_link_id,
        "title": "Kim's bill",
        "description": "Ten minutes",
    }
    assert claims[f"{LTI}/target_link_uri"] == ITEM["url"]
    assert claims[f"{LTI}/custom"]["experience"] == "7"
    assert claims[AGS]["lineitem"].endswith(f"/line_items/{item.id}")


def test_an_assignment_without_a_line_item_gets_a_column_all_the_same(sandbox, choose):
    soup(choose("assignment_selection", ITEM))
    (item,) = sandbox.gradebook.line_items(sandbox.course(1101))
    assert (item.label, item.score_maximum) == ("Talk with Kim", 10)


def test_a_module_takes_several_items_and_makes_columns_for_those_with_a_line_item(client, sandbox, choose):
    soup(choose("module_index_menu_modal", ITEM, GRADED))
    page = soup(client.get("/courses/1101/modules?as=amara.diallo"))
    links = page.select("[data-testid=module-items] a")
    assert [link.get_text() for link in links] == ["Talk with Kim", "Talk with Kim"]
    assert len(sandbox.gradebook.line_items(sandbox.course(1101))) == 1
    opened = soup(client.get(links[1]["href"]))
    assert opened.select_one("[name=target_link_uri]")["value"] == ITEM["url"]


def test_a_page_embeds_what_is_launched_and_links_the_rest(client, choose):
    plain = {"type": "link", "url": f"{TOOL}/about", "title": "About"}
    soup(choose("editor_button", ITEM, plain))
    page = soup(client.get("/courses/1101/pages/welcome?as=amara.diallo"))
    (frame,) = page.select("[data-tool-frame]")
    inner = soup(client.get(frame["src"]))
    assert inner.select_one("[name=target_link_uri]")["value"] == ITEM["url"]
    assert page.find("a", href=f"{TOOL}/about").get_text() == "About"
    assert page.select_one("iframe[name=post_message_forwarding]")


def test_an_item_without_an_address_opens_the_tool(sandbox, choose):
    soup(choose("link_selection", {"type": "ltiResourceLink", "title": "x"}))
    (link,) = sandbox.links.of(sandbox.course(1101))
    assert link.url == f"{TOOL}/lti/launch"


def test_choosing_nothing_adds_nothing_and_shows_what_the_tool_says(sandbox, choose):
    words = {f"{DEEP_LINKING}/msg": "<b>Bye</b>", f"{DEEP_LINKING}/errormsg": "Nothing published yet"}
    page = soup(choose("assignment_selection", **words))
    assert "<b>Bye</b>" in page.get_text()
    assert "Nothing published yet" in page.get_text()
    assert not page.select("[data-leave]")
    assert sandbox.links.of(sandbox.course(1101)) == []


@pytest.mark.parametrize(
    ("placement", "items", "words"),
    [
        ("assignment_selection", [ITEM, ITEM], "takes one item"),
        ("assignment_selection", [{**ITEM, "type": "link"}], "of the type link"),
        ("assignment_selection", [{**ITEM, "url": "https://evil.example/x"}], "not on the tool's host"),
        ("editor_button", [{**ITEM, "type": "link", "url": "javascript:alert(1)"}], "not on the tool's host"),
        ("assignment_selection", [{**ITEM, "url": 7}], "not on the tool's host"),
        ("assignment_selection", ["text"], "must be an object"),
        ("assignment_selection", [{**ITEM, "custom": []}], "custom must be an object"),
        ("assignment_selection", [{**ITEM, "lineItem": {"label": "x"}}], "scoreMaximum is missing"),
        ("assignment_selection", [{**ITEM, "lineItem": 5}], "lineItem must be an object"),
        ("editor_button", [GRADED], "takes no line item"),
    ],
)
def test_an_item_that_the_placement_does_not_take_is_refused(sandbox, choose, placement, items, words):
    assert words in reason_of(choose(placement, *items))
    assert sandbox.links.of(sandbox.course(1101)) == []


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({f"{DEEP_LINKING}/content_items": {}}, "content_items must be a list"),
        ({f"{DEEP_LINKING}/data": "another"}, "data is missing"),
        ({f"{DEEP_LINKING}/data": None}, "data is missing"),
        ({f"{LTI}/message_type": "LtiDeepLinkingRequest"}, "message_type must be"),
        ({f"{LTI}/version": None}, "version must be"),
        ({f"{LTI}/deployment_id": "another"}, "deployment_id must be"),
        ({"iss": "another"}, "No tool has the client id"),
        ({"aud": "https://elsewhere.example"}, "the token is not valid"),
        ({"exp": int(time.time()) - 60}, "the token is not valid"),
        ({"nonce": None}, "the token is not valid"),
        ({"key": rsa.generate_private_key(public_exponent=65537, key_size=2048)}, "the token is not valid"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_a_response_that_is_not_the_tools_answer_is_refused(sandbox, choose, claims, words):
    assert words in reason_of(choose("assignment_selection", ITEM, **claims))
    assert sandbox.links.of(sandbox.course(1101)) == []


@pytest.mark.parametrize("token", ["", "a.b.c", "x" * 100_000], ids=len)
def test_what_is_no_token_is_refused(settings, send, token):
    assert "the token is not valid" in reason_of(send(settings(), token))


def test_a_response_works_once(settings, send, tool):
    asked = settings()
    token = tool.deep_linking_response(asked, ITEM)
    assert send(asked, token).status_code == 200
    assert "nonce has been used" in reason_of(send(asked, token))


def test_a_response_to_somebody_elses_request_is_refused(settings, send, tool):
    mine, theirs = settings(), settings(login="elena.petrova")
    assert "another person" in reason_of(send(mine, tool.deep_linking_response(theirs, ITEM)))


def test_a_student_cannot_add_to_a_course(client, settings, tool):
    asked = settings()
    token = tool.deep_linking_response(asked, ITEM)
    answer = client.post("/courses/1101/deep_linking_response?as=amara.diallo", data={"JWT": token})
    assert answer.status_code == 403


def test_another_client_returns_for_itself_alone(sandbox, settings, send, tool):
    other = sandbox.install("Another")
    options = {"message_type": MessageType.DEEP_LINKING, "placement": "link_selection"}
    theirs = sandbox.launch_claims("miriam.okafor", 1101, nonce="n", client_id=other.client_id, **options)[
        SETTINGS
    ]
    own = {"iss": other.client_id, f"{LTI}/deployment_id": other.deployment_id}
    assert "of another tool" in reason_of(send(theirs, tool.deep_linking_response(settings(), ITEM, **own)))
    assert send(theirs, tool.deep_linking_response(theirs, ITEM, **own)).status_code == 200
    (link,) = sandbox.links.of(sandbox.course(1101))
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n", resource_link=link)
    assert claims["aud"] == other.client_id
