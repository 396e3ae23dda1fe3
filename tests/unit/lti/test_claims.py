"""Claims of any shape: a launch or a refusal comes of them, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.courses.models import MAX_NAME, Role
from app.lti.addresses import same_origin
from app.lti.claims import CLAIM, LaunchClaims, MessageType, parse_claims
from app.lti.models import MAX_ID, MAX_URL
from app.lti.refusals import LaunchRefusedError
from app.lti.roles import course_role
from app.lti.tool import Target, conversation_link, experience_link, parse_target
from tests.support.odd_claims import GOOD, TOOL_URL, json_values, messages, repeatable, texts

KNOWN_ROLES = (
    "Learner",
    "Instructor",
    "http://purl.imsglobal.org/vocab/lis/v2/membership#Mentor",
    "http://purl.imsglobal.org/vocab/lis/v2/membership#ContentDeveloper",
    "http://purl.imsglobal.org/vocab/lis/v2/membership/Instructor#TeachingAssistant",
    "http://purl.imsglobal.org/vocab/lis/v2/institution/person#Administrator",
    "http://purl.imsglobal.org/vocab/lti/system/person#TestUser",
)
SHORT_NAMES = {"Instructor", "Learner", "Mentor", "Administrator", "ContentDeveloper"}
roles = st.lists(st.sampled_from(KNOWN_ROLES) | texts)
unknown_roles = st.lists(
    texts.filter(lambda role: role not in SHORT_NAMES and "purl.imsglobal.org" not in role)
)


@pytest.mark.parametrize("body", GOOD, ids=lambda body: body[CLAIM + "message_type"])
def test_a_good_message_is_a_launch(body: dict[str, Any]) -> None:
    claims = parse_claims(body, TOOL_URL)
    assert claims.message_type == body[CLAIM + "message_type"]
    assert claims.visit.sub == body["sub"]


@repeatable(max_examples=500)
@given(messages)
def test_any_message_is_a_launch_or_refused(body: dict[str, Any]) -> None:
    try:
        claims = parse_claims(body, TOOL_URL)
    except LaunchRefusedError as error:
        assert str(error)
        return
    check_fits(claims)


@repeatable(max_examples=100)
@given(st.dictionaries(texts, json_values))
def test_any_object_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(LaunchRefusedError):
        parse_claims(body, TOOL_URL)


def check_fits(claims: LaunchClaims) -> None:
    """Hold what a launch says to what the tables take and the pages show."""
    visit, services = claims.visit, claims.services
    assert isinstance(visit.role, Role)
    for identifier in (visit.sub, visit.context_id, *visit.course_history, *visit.claimed_history):
        assert identifier.isprintable() and 0 < len(identifier) <= MAX_ID
    for name in (
        visit.name,
        visit.course_title,
        visit.course_label,
        claims.resource_link_title,
        claims.locale,
        claims.platform_guid,
        claims.platform_name,
    ):
        assert name is None or (name.strip() == name and 0 < len(name) <= MAX_NAME)
        assert not set(name or "") & set("\x00\ud800\u202e\n")
    for address in (services.roster_url, services.line_items_url, services.line_item_url, visit.avatar_url):
        assert address is None or (address.startswith("http") and len(address) <= MAX_URL)
    if claims.message_type is MessageType.RESOURCE_LINK:
        assert claims.resource_link_id
    json.dumps([*services.grade_scopes, *visit.course_history, *visit.claimed_history]).encode()


@repeatable(max_examples=100)
@given(roles, unknown_roles, st.randoms())
def test_unknown_roles_and_the_order_change_nothing(held: list[str], unknown: list[str], chance: Any) -> None:
    shuffled = [*held, *unknown]
    chance.shuffle(shuffled)
    assert course_role(tuple(shuffled)) == course_role(tuple(held))


@repeatable(max_examples=100)
@given(texts)
def test_any_address_opens_something(address: str) -> None:
    for link in (address, f"{TOOL_URL}/lti/launch?{address}", f"{TOOL_URL}/lti/launch?experience={address}"):
        target = parse_target(link) if same_origin(link, TOOL_URL) else Target()
        for found in (target.experience_id, target.conversation_id):
            assert found is None or 0 < found < 2**31


@repeatable(max_examples=100)
@given(st.integers(1, 10**9 - 1))
def test_a_link_opens_what_it_was_made_for(number: int) -> None:
    assert parse_target(experience_link(TOOL_URL, number)) == Target(experience_id=number)
    assert parse_target(conversation_link(TOOL_URL, number)) == Target(conversation_id=number)


@repeatable(max_examples=100)
@given(texts)
def test_no_other_origin_same_origin(rest: str) -> None:
    for other in (
        "https://localhost:8000",
        "http://localhost",
        "//localhost:8000",
        "http://elsewhere.example",
        "",
    ):
        assert not same_origin(f"{other}/{rest}", TOOL_URL)
    for beginning in (".elsewhere.example", "@elsewhere.example", "0", "\\@elsewhere.example"):
        assert not same_origin(f"{TOOL_URL}{beginning}/{rest}", TOOL_URL)
