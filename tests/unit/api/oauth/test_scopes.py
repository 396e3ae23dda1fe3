"""Scopes, and what they come to in words."""

import pytest

import app.api.wiring  # noqa: F401 - declares the endpoints
from app.api.endpoints import known_scopes
from app.api.oauth.scopes import (
    UnknownScopeError,
    all_groups,
    checked_scopes,
    groups_of,
    parse_scopes,
    within,
)

COURSE = "/api/v1/courses/:course_id/ai_experiences"
READ, WRITE = f"url:GET|{COURSE}", f"url:POST|{COURSE}"


def test_scopes_are_read_in_order_and_each_once() -> None:
    assert parse_scopes(f" {WRITE}  {READ} {READ} ") == [READ, WRITE]


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_no_scopes_are_no_limit(nothing: str | None) -> None:
    assert parse_scopes(nothing) is None


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(UnknownScopeError, match="made-up"):
        checked_scopes([READ, "made-up"])


@pytest.mark.parametrize(
    ("asked", "limit", "expected"),
    [
        (None, None, True),
        ([READ], None, True),
        ([READ], [READ, WRITE], True),
        ([READ, WRITE], [READ], False),
        (None, [READ], False),
        ([], [READ], True),
    ],
)
def test_nothing_is_asked_beyond_a_limit(
    asked: list[str] | None, limit: list[str] | None, expected: bool
) -> None:
    assert within(asked, limit) is expected


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        (READ, "read"),
        (f"url:GET|{COURSE}/new", "read"),
        (WRITE, "write"),
        (f"url:DELETE|{COURSE}/:id", "write"),
        (f"url:GET|{COURSE}/:id/ai_conversations", "class"),
        (f"url:GET|{COURSE}/:id/conversations/:conversation_id", "class"),
        (f"url:GET|{COURSE}/:id/conversations/:conversation_id/evaluation", "class"),
        (f"url:GET|{COURSE}/:id/conversations", "converse"),
        (f"url:POST|{COURSE}/:id/conversations/:conversation_id/messages", "converse"),
        ("url:GET|/api/v1/something_new", "url:GET|/api/v1/something_new"),
    ],
)
def test_a_scope_belongs_to_a_group(scope: str, key: str) -> None:
    assert [group.key for group in groups_of([scope])] == [key]


def test_every_scope_is_in_one_group_that_has_words() -> None:
    groups = all_groups()
    assert sorted(scope for group in groups for scope in group.scopes) == sorted(known_scopes())
    assert [group.key for group in groups] == ["read", "write", "class", "converse"]
