"""Pages of lists and the links to them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, quote_from_bytes, urlsplit

import pytest
from flask import Flask, Response
from hypothesis import given
from hypothesis import strategies as st

from app.api.paging import MOST_PER_PAGE, PER_PAGE, PageAsked, add_links, page_asked
from app.settings import Settings
from app.web import LARGEST_ID

APP_URL = "https://ai.example.edu"
LIST = "/api/v1/courses/1101/ai_experiences"
app = Flask(__name__)
app.config["SETTINGS"] = Settings(
    _env_file=None, app_url=APP_URL, secret_key="s" * 32, llm_provider="scripted"
)


@contextmanager
def asking(query: str = "", path: str = LIST) -> Iterator[PageAsked]:
    with app.test_request_context(path, query_string=query):
        yield page_asked()


def links(query: str, total: int, path: str = LIST) -> dict[str, str]:
    """Return where each relation leads."""
    with asking(query, path) as asked:
        header = add_links(Response(), asked, total).headers["Link"]
    return {relation: address for address, relation in re.findall(r'<([^>]*)>; rel="(\w+)"', header)}


def pages(query: str, total: int) -> dict[str, int]:
    """Return the page to which each relation leads."""
    return {
        relation: int(parse_qs(urlsplit(address).query)["page"][0])
        for relation, address in links(query, total).items()
    }


@pytest.mark.parametrize(
    ("query", "number", "size"),
    [
        ("", 1, PER_PAGE),
        ("page=3&per_page=25", 3, 25),
        ("per_page=100", 1, MOST_PER_PAGE),
        ("per_page=101", 1, MOST_PER_PAGE),
        ("per_page=999999999", 1, MOST_PER_PAGE),
        ("page=0&per_page=0", 1, PER_PAGE),
        ("page=-1&per_page=-1", 1, PER_PAGE),
        ("page=first&per_page=ten", 1, PER_PAGE),
        ("page=1.5&per_page=1e1", 1, PER_PAGE),
        ("page=%D9%A3&per_page=%C2%B2", 1, PER_PAGE),
        ("page=&per_page=", 1, PER_PAGE),
        ("page=2&page=3", 2, PER_PAGE),
        (f"page={'9' * 5000}&per_page={'9' * 5000}", 1, PER_PAGE),
    ],
)
def test_what_makes_no_sense_counts_as_not_given(query: str, number: int, size: int) -> None:
    with asking(query) as asked:
        assert asked == PageAsked(number, size)


@given(st.text(max_size=20) | st.integers().map(str), st.text(max_size=20) | st.integers().map(str))
def test_a_database_can_count_to_every_page_that_is_asked_for(page: str, per_page: str) -> None:
    with app.test_request_context(LIST, query_string={"page": page, "per_page": per_page}):
        asked = page_asked()
    assert 1 <= asked.size <= MOST_PER_PAGE
    assert 0 <= asked.offset <= LARGEST_ID


def test_the_first_page_has_none_before_it() -> None:
    assert pages("per_page=10", total=25) == {"current": 1, "next": 2, "first": 1, "last": 3}


def test_a_page_between_has_both() -> None:
    assert pages("page=2&per_page=10", total=25) == {
        "current": 2,
        "next": 3,
        "prev": 1,
        "first": 1,
        "last": 3,
    }


def test_the_last_page_has_none_after_it() -> None:
    assert pages("page=3&per_page=10", total=25) == {"current": 3, "prev": 2, "first": 1, "last": 3}


def test_a_full_last_page_is_the_last() -> None:
    assert pages("page=2&per_page=10", total=20)["last"] == 2


def test_an_empty_list_is_one_page() -> None:
    assert pages("", total=0) == {"current": 1, "first": 1, "last": 1}


def test_past_the_end_the_way_back_leads_to_the_last_page() -> None:
    assert pages("page=9&per_page=10", total=25) == {"current": 9, "prev": 3, "first": 1, "last": 3}


def test_who_follows_next_comes_to_every_entry_once() -> None:
    seen: list[int] = []
    number: int | None = 1
    while number is not None:
        with asking(f"page={number}&per_page=7") as asked:
            seen += range(25)[asked.offset : asked.offset + asked.size]
        number = pages(f"page={number}&per_page=7", total=25).get("next")
    assert seen == list(range(25))


def test_links_keep_what_was_asked_for() -> None:
    address = links("workflow_state=published&include[]=a&include[]=b%26c&per_page=5", total=9)["next"]
    assert parse_qs(urlsplit(address).query) == {
        "workflow_state": ["published"],
        "include[]": ["a", "b&c"],
        "page": ["2"],
        "per_page": ["5"],
    }


def test_links_repeat_no_token() -> None:
    address = links("access_token=aix_secret&page=1&access_token=another", total=25)["next"]
    assert parse_qs(urlsplit(address).query) == {"page": ["2"], "per_page": ["10"]}


def test_links_begin_with_the_public_address_whatever_the_request_named() -> None:
    with app.test_request_context(LIST, base_url="http://evil.example"):
        link = add_links(Response(), page_asked(), 1).headers["Link"]
    assert f"<{APP_URL}{LIST}?" in link
    assert "evil" not in link


@given(st.binary(max_size=40).map(quote_from_bytes) | st.text("%&=[]+;x", max_size=40))
def test_links_can_repeat_whatever_was_asked(query: str) -> None:
    with app.test_request_context(LIST, query_string=query):
        link = add_links(Response(), page_asked(), 25).headers["Link"]
    assert link.isascii()
    assert link.isprintable()


@pytest.mark.parametrize(
    "course",
    ["lti_context_id:a b", 'lti_context_id:"><;,', "lti_context_id:é日", "lti_context_id:%0D%0AX:%20y"],
)
def test_links_write_any_course_as_an_address_has_it(course: str) -> None:
    path = f"/api/v1/courses/{course}/ai_experiences"
    address = links("", total=1, path=path)["current"]
    assert address.isascii()
    with app.test_request_context(urlsplit(address).path) as again, app.test_request_context(path) as first:
        assert again.request.path == first.request.path
