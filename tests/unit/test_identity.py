"""What each role may do."""

import pytest

from app.courses.models import Role
from app.identity import keeps_rights


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        (Role.TEACHER, Role.TEACHER, True),
        (Role.TEACHER, Role.ADMINISTRATOR, True),
        (Role.STUDENT, Role.TEACHER, True),
        (Role.STUDENT, Role.DESIGNER, True),
        (Role.OBSERVER, Role.STUDENT, True),
        (Role.DESIGNER, Role.TEACHER, True),
        (Role.TEACHER, Role.DESIGNER, False),
        (Role.TEACHER, Role.STUDENT, False),
        (Role.DESIGNER, Role.STUDENT, False),
        (Role.STUDENT, Role.OBSERVER, False),
    ],
)
def test_a_role_keeps_the_rights_of_another_or_loses_some(before: Role, now: Role, kept: bool) -> None:
    assert keeps_rights(before, now) is kept
