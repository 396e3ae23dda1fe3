"""No payload makes a 500: signed tokens with claims of any shape, through HTTP into either database."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.lti.claims import DEEP_LINKING_SETTINGS
from tests.lti_certification.vocabulary import (
    ADMINISTRATOR,
    CLAIM,
    INSTITUTION,
    MEMBERSHIP,
    Browser,
    cases,
    on_both_databases,
    refused,
)
from tests.support.odd_claims import GOOD, changes, repeatable

SETTINGS = GOOD[0][DEEP_LINKING_SETTINGS]
MESSAGES: list[dict[str, Any]] = [
    {
        CLAIM + "message_type": body[CLAIM + "message_type"],
        CLAIM + "for_user": body[CLAIM + "for_user"],
        DEEP_LINKING_SETTINGS: SETTINGS,
        CLAIM + "roles": [MEMBERSHIP + "Instructor", INSTITUTION + "Administrator"],
    }
    for body in GOOD
]
ODD: dict[str, Any] = {
    "a number that is large": 1e308,
    "a number of 4,000 digits": 10**4000,
    "NUL": "a\x00b",
    "half a surrogate pair": "\ud800",
}


@on_both_databases
def test_any_claims_open_the_tool_or_are_refused(browser: Browser) -> None:
    @repeatable(max_examples=60)
    @given(st.sampled_from(MESSAGES), changes())
    def launch(message: dict[str, Any], odd: dict[str, Any]) -> None:
        opened_or_refused(browser, message | odd)

    launch()


@on_both_databases
@cases("value", ODD)
def test_what_an_administrators_launch_brings_is_kept_even_if_it_is(browser: Browser, value: object) -> None:
    for message in MESSAGES:
        odd = {"odd": [value], DEEP_LINKING_SETTINGS: SETTINGS | {"odd": value}}
        assert opened_or_refused(browser, message | odd)


@on_both_databases
def test_claims_nested_however_deep_make_no_error(browser: Browser) -> None:
    # In a thread of its own, whose calls are as few as those of a server.
    with ThreadPoolExecutor(1) as thread:
        for depth in range(50, 901, 50):
            odd = json.loads('{"a":' * depth + "1" + "}" * depth)
            changes = MESSAGES[1] | {"odd": odd, DEEP_LINKING_SETTINGS: SETTINGS | {"odd": odd}}
            thread.submit(opened_or_refused, browser, changes).result()


def opened_or_refused(browser: Browser, changes: dict[str, Any]) -> bool:
    """Launch as an administrator, whose claims are kept whole; tell whether the tool opened, and no page failed."""
    answer = browser.launch(browser.platform.login(ADMINISTRATOR), **changes)
    if answer.response.status_code != 303:
        refused(answer)
        return False
    first_page = browser.get(browser.tool.url + answer.location, follow=True)
    assert first_page.status_code in {200, 404}, first_page.text
    return True
