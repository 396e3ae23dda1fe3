"""What is masked in a launch's message before it is kept."""

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lti.masking import _ADDRESS, _JWT, FOR_USER, MASK, MAX_DEPTH, MAX_TEXT, masked

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "name",
    ["nonce", "jti", "data", "at_hash", "oauth_consumer_key_sign", "api_token", "ClientSecret", "password"],
)
@pytest.mark.parametrize("wrap", [lambda claim: claim, lambda claim: {"custom": [claim]}])
def test_what_is_named_like_a_secret_is_masked_however_deep(name: str, wrap: Any) -> None:
    shown = json.dumps(masked(wrap({name: "the-secret"})), ensure_ascii=False)
    assert "the-secret" not in shown
    assert MASK in shown


def test_ordinary_claims_stay_as_they_are() -> None:
    claims = {
        "sub": "1",
        "product_family_code": "canvas",
        "signed_in": True,
        "design": "a",
        "missing": None,
        "exp": 1_700_000_000,
        "lineitems": "https://lms.example/api/lti/courses/1/line_items?type_id=2&modal=true",
    }
    assert masked(claims) == claims


@pytest.mark.parametrize(
    ("note", "shown"),
    [
        (f"see {JWT}!", f"see {MASK}!"),
        (f"id={JWT}", f"id={MASK}"),
        (f"at.{JWT}", f"at.{MASK}"),
        (f"key-{JWT} {JWT}", f"{MASK} {MASK}"),
        (f"eyJ-eyJ_{JWT}", MASK),
        ("eyJhbGciOiJkaXIifQ..iv.text.tag", MASK),
        ("HeyJude.example", "HeyJude.example"),
        ("eyJude", "eyJude"),
    ],
)
def test_tokens_are_masked_wherever_they_stand(note: str, shown: str) -> None:
    assert masked({"custom": {"note": note}}) == {"custom": {"note": shown}}


@pytest.mark.parametrize("pattern", [_JWT, _ADDRESS])
@pytest.mark.parametrize(
    "part", ["eyJa-", "eyJ", "-eyJ", "eyJa.", "eyJa-.", "eyJa..", "a-_", "http://", "https:", "é"]
)
def test_no_text_makes_a_pattern_look_at_it_again_and_again(pattern: re.Pattern[str], part: str) -> None:
    # A million characters: moments where each is looked at once, hours where each is a new beginning.
    pattern.sub(MASK, part * (1_000_000 // len(part)))


def test_long_texts_are_cut_before_a_word_that_may_be_a_key() -> None:
    assert masked({"a": "x" * MAX_TEXT}) == {"a": "x" * MAX_TEXT}
    long = "word " * (MAX_TEXT // 5 - 2) + f"https://lms.example/a?q={'0' * 40}"
    assert masked({"a": [long]}) == {"a": [("word " * (MAX_TEXT // 5 - 2)).strip() + "…"]}
    assert masked({"a": "eyJa-" * 14_000}) == {"a": "…"}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"https://lms.example/back?course=1&data={JWT}", f"https://lms.example/back?course=1&data={MASK}"),
        ("https://lms.example/a?access_token=x", f"https://lms.example/a?access_token={MASK}"),
        ("https://lms.example/a?acc%65ss_token=x", f"https://lms.example/a?acc%65ss_token={MASK}"),
        ("https://lms.example/a?q=0123456789abcdef01234", f"https://lms.example/a?q={MASK}"),
        ("https://lms.example/a#id_token=x&state=1", f"https://lms.example/a#id_token={MASK}&state=1"),
        ("https://me:word@lms.example/a", f"https://{MASK}@lms.example/a"),
        ("https://[lms.example/a?token=1", MASK),
    ],
)
def test_keys_in_addresses_are_masked(address: str, shown: str) -> None:
    assert masked({"return_url": address, "text": f"Go to {address} now"}) == {
        "return_url": shown,
        "text": f"Go to {shown} now",
    }


def test_the_person_whose_work_is_reviewed_is_named_by_id_alone() -> None:
    person = {"user_id": "7", "roles": ["Learner"], "name": "Amara Diallo", "email": "a@b.example"}
    assert masked({FOR_USER: person}) == {
        FOR_USER: {"user_id": "7", "roles": ["Learner"], "name": MASK, "email": MASK}
    }


def test_what_is_nested_deeper_than_anybody_reads_is_cut() -> None:
    claim: Any = "x"
    for _ in range(400):
        claim = [{"a": claim}]
    assert json.dumps(masked({"custom": claim})).count("[") <= MAX_DEPTH


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        ),
    )
)
def test_whatever_came_can_be_stored_as_json(claims: dict[str, Any]) -> None:
    json.dumps(masked(claims), allow_nan=False)


def test_numbers_that_json_lacks_become_text() -> None:
    assert masked({"a": math.nan, "b": [math.inf]}) == {"a": "nan", "b": ["inf"]}
