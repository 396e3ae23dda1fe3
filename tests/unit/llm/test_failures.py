"""What a log may have of a server's words."""

import pytest

from app.llm.failures import DETAIL_LENGTH, discreet

SAID = "Мне очень грустно сегодня, ich weiß nicht weiter."
KEY = "sk-topsecretkey"


@pytest.mark.parametrize(
    "quoted",
    [
        SAID,
        SAID.upper(),
        SAID.encode("unicode_escape").decode(),
        SAID.replace(" ", "&nbsp;"),
        SAID.replace(" ", "\\n"),
        "грустно сегодня",
        KEY,
        "I'm sad",
    ],
    ids=["as it is", "upper case", "escaped", "as HTML", "in lines", "a part", "a short key", "a short text"],
)
def test_a_quote_in_any_form_is_withheld(quoted: str) -> None:
    detail = f"status 400: cannot read {quoted!r} or {quoted}"
    assert discreet(detail, [KEY, SAID, "I'm sad"]) == "status 400: (withheld, it quotes the request)"


def test_a_quote_that_begins_where_a_log_ends_is_withheld_too() -> None:
    detail = f"status 400: {'x' * (DETAIL_LENGTH - 12 - 8)}{KEY}"
    assert KEY[:8] not in discreet(detail, [KEY])


def test_what_quotes_nothing_is_told() -> None:
    detail = "status 404: The model `llama-4` does not exist"
    assert discreet(detail, [KEY, SAID, "", "?", "Is the model kind? No."]) == detail
