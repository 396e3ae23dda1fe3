"""What a launch names is opened, and nothing that no launch names."""

import pytest

from tests.support.people import Visitor


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "experience=0",
        f"experience={'9' * 30}",
        "experience=%C2%B2",
        f"conversation={'9' * 30}",
        "conversation=-1",
        "person=1",
        "person=%00&line_item=https://school.example/1",
        "person=1&line_item=%00",
    ],
)
def test_an_address_that_no_launch_made_opens_nothing(teacher: Visitor, student: Visitor, asked: str) -> None:
    for visitor in (teacher, student):
        assert visitor.get(f"/open?{asked}").status_code == 404
