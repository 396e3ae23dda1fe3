"""What a request carries, read as Rails reads it."""

import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from app.api.bodies import MAX_DEPTH, from_form, read_body
from app.errors import BadRequestError

app = Flask(__name__)
NAMES = st.text("ab[]", max_size=24) | st.text(max_size=12)
PAIRS = st.lists(st.tuples(NAMES, st.text(max_size=3)), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def read(wrapper: str | None = None, **sent: Any) -> dict[str, Any]:
    with app.test_request_context("/", method="POST", **sent):
        return read_body(wrapper)


def depth(value: object) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@pytest.mark.parametrize(
    ("pairs", "fields"),
    [
        ([("title", "A")], {"title": "A"}),
        ([("title", "A"), ("title", "B")], {"title": "B"}),
        ([("x[title]", "A"), ("x[facts]", "B")], {"x": {"title": "A", "facts": "B"}}),
        ([("a[]", "1"), ("a[]", "2")], {"a": ["1", "2"]}),
        ([("x[a][]", "1"), ("x[a][]", "2")], {"x": {"a": ["1", "2"]}}),
        (
            [("m[][name]", "A"), ("m[][enabled]", "0"), ("m[][name]", "B")],
            {"m": [{"name": "A", "enabled": "0"}, {"name": "B"}]},
        ),
        ([("x[m][][name]", "A"), ("x[m][][name]", "B")], {"x": {"m": [{"name": "A"}, {"name": "B"}]}}),
        ([("a", "1"), ("a[b]", "2")], {"a": {"b": "2"}}),
        ([("a[b]", "1"), ("a[]", "2")], {"a": ["2"]}),
        ([("a[]", "1"), ("a[][b]", "2")], {"a": ["1", {"b": "2"}]}),
        ([("[]", "1"), ("", "2"), ("a[b][c][d][e]", "3")], {}),
    ],
)
def test_forms_nest_as_in_rails(pairs: list[tuple[str, str]], fields: dict[str, Any]) -> None:
    assert from_form(pairs) == fields


@given(PAIRS)
def test_any_form_can_be_read_and_is_as_deep_as_allowed_at_most(pairs: list[tuple[str, str]]) -> None:
    assert depth(from_form(pairs)) <= MAX_DEPTH


@given(st.dictionaries(st.text("abc", min_size=1), st.text(max_size=5), max_size=5))
def test_flat_fields_arrive_as_they_were_sent(fields: dict[str, str]) -> None:
    assert from_form(fields.items()) == fields


@given(JSON)
def test_json_that_is_an_object_arrives_and_any_other_is_refused(value: Any) -> None:
    body = json.dumps(value)
    if isinstance(value, dict):
        assert json.dumps(read(data=body, content_type="application/json")) == body
    else:
        with pytest.raises(BadRequestError):
            read(data=body, content_type="application/json")


@given(st.binary(max_size=64), st.sampled_from(["application/json", "application/vnd.api+json"]))
def test_bytes_that_claim_to_be_json_are_read_or_refused(body: bytes, content_type: str) -> None:
    try:
        fields = read(data=body, content_type=content_type)
    except BadRequestError:
        return
    assert isinstance(fields, dict)


@given(
    st.binary(max_size=64),
    st.sampled_from(
        [
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "multipart/form-data; boundary=x",
            "text/plain",
            "",
        ]
    ),
)
def test_bytes_of_any_other_kind_are_read_as_a_form(body: bytes, content_type: str) -> None:
    assert depth(read(data=body, content_type=content_type)) <= MAX_DEPTH


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "null",
        "[1]",
        '"text"',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": ' + "9" * 5_000 + "}",
        b'{"a": "\xff"}',
    ],
    ids=["cut", "null", "list", "text", "deep lists", "deep objects", "huge number", "no utf-8"],
)
def test_what_is_no_json_object_is_a_bad_request(body: str | bytes) -> None:
    with pytest.raises(BadRequestError):
        read(data=body, content_type="application/json")


def test_an_empty_body_has_no_fields_whatever_it_says_it_is() -> None:
    assert read("ai_experience", data="", content_type="application/json") == {}


def test_wrapped_fields_win_over_flat_ones() -> None:
    sent = {"title": "flat", "facts": "flat", "ai_experience": {"title": "wrapped"}}
    assert read("ai_experience", json=sent) == {"title": "wrapped", "facts": "flat"}


def test_a_form_may_be_wrapped_too() -> None:
    sent = {"ai_experience[title]": "wrapped", "title": "flat"}
    assert read("ai_experience", data=sent) == {"title": "wrapped"}


@pytest.mark.parametrize("wrapped", [None, "text", ["list"], 7], ids=str)
def test_a_wrapper_that_holds_no_fields_is_passed_over(wrapped: object) -> None:
    assert read("ai_experience", json={"title": "flat", "ai_experience": wrapped}) == {"title": "flat"}


def test_an_endpoint_without_a_wrapper_takes_every_name_as_it_is() -> None:
    assert read(json={"ai_experience": {"title": "A"}}) == {"ai_experience": {"title": "A"}}
