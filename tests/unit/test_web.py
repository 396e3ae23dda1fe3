"""Ids as they come in addresses and forms."""

import pytest

from app.web import LARGEST_ID, row_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        (str(LARGEST_ID), LARGEST_ID),
        (str(LARGEST_ID + 1), 0),
        (str(2**63), 0),
        ("0", 0),
        ("-1", 0),
        ("-" + "9" * 25, 0),
    ],
)
def test_a_number_that_no_column_holds_is_no_rows_id(text: str, expected: int) -> None:
    assert row_id(text) == expected


@pytest.mark.parametrize("text", ["", "x", "1.0", "1 OR 1"])
def test_what_is_no_number_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        row_id(text)
