"""How a score and its address are written."""

from datetime import UTC, datetime

import pytest

from app.lti import canvas
from app.lti.services.columns import maximum_of
from app.lti.services.scores import _below

LINE_ITEM = "https://moodle.example/services.php/5/lineitems/7/lineitem?type_id=2"


def test_a_line_items_query_stays_at_the_end_of_its_scores_address() -> None:
    assert _below(LINE_ITEM, "scores") == (
        "https://moodle.example/services.php/5/lineitems/7/lineitem/scores?type_id=2"
    )
    assert _below("https://canvas.example/line_items/7/", "scores").endswith("/line_items/7/scores")


@pytest.mark.parametrize("maximum", [0, -1, True, "20", None, float("inf"), float("nan"), [20]])
def test_a_maximum_that_is_none_is_not_believed(maximum: object) -> None:
    assert maximum_of({"scoreMaximum": maximum}) is None


def test_a_regrade_says_nothing_of_when_the_work_was_submitted() -> None:
    at = datetime(2026, 2, 3, 10, tzinfo=UTC)
    new, regrade = (
        canvas.submission("https://tool.example/lti/launch?conversation=1", at, new=new)[canvas.SUBMISSION]
        for new in (True, False)
    )
    assert new["submitted_at"] == "2026-02-03T10:00:00.000+00:00"
    assert "submitted_at" not in regrade
    assert (new["new_submission"], regrade["new_submission"]) == (True, False)


@pytest.mark.parametrize(
    ("status", "words", "older"),
    [
        (400, "400 Provided timestamp of 2026-02-03 before last updated timestamp of 2026-02-04", True),
        (400, "400 Provided timestamp of yesterday not a valid timestamp.", False),
        (422, "422 before last updated timestamp", False),
        (None, "before last updated timestamp", False),
    ],
)
def test_canvas_says_in_words_that_a_score_is_older(status: int | None, words: str, older: bool) -> None:
    assert canvas.is_older_timestamp(status, words) is older
