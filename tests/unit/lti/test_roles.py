"""LTI roles, one row a case."""

import pytest

from app.courses.models import Role
from app.lti.roles import RoleUse, course_role, explain_roles

LIS = "http://purl.imsglobal.org/vocab/lis/v2/"
MEMBERSHIP = LIS + "membership#"
INSTITUTION = LIS + "institution/person#"
TEST_USER = "http://purl.imsglobal.org/vocab/lti/system/person#TestUser"
ASSISTANT = LIS + "membership/Instructor#TeachingAssistant"


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ([MEMBERSHIP + "Instructor"], Role.TEACHER),
        ([MEMBERSHIP + "Instructor", ASSISTANT], Role.TEACHER),
        ([ASSISTANT], Role.TEACHER),
        ([MEMBERSHIP + "ContentDeveloper"], Role.DESIGNER),
        ([MEMBERSHIP + "Learner"], Role.STUDENT),
        ([MEMBERSHIP + "Mentor"], Role.OBSERVER),
        ([MEMBERSHIP + "Learner", TEST_USER], Role.STUDENT),
        (["Learner"], Role.STUDENT),
        (["Instructor"], Role.TEACHER),
        ([MEMBERSHIP + "Learner", MEMBERSHIP + "Instructor"], Role.TEACHER),
        ([INSTITUTION + "Instructor", MEMBERSHIP + "Learner"], Role.STUDENT),
        ([INSTITUTION + "Administrator"], Role.ADMINISTRATOR),
        ([INSTITUTION + "Administrator", MEMBERSHIP + "Learner"], Role.STUDENT),
        ([LIS + "system/person#SysAdmin"], Role.ADMINISTRATOR),
        ([MEMBERSHIP + "Learner", "https://example.org/unknown"], Role.STUDENT),
    ],
)
def test_known_roles(roles: list[str], expected: Role) -> None:
    mapped = course_role(tuple(roles))
    assert mapped is not None
    assert mapped.role is expected


@pytest.mark.parametrize(
    "roles",
    [
        [],
        ["http://evil.example/membership#Instructor"],
        ["urn:x"],
        ["Wizard"],
        [INSTITUTION + "Instructor"],
        [INSTITUTION + "Student"],
        [LIS + "system/person#User"],
    ],
)
def test_unknown_roles_are_none(roles: list[str]) -> None:
    assert course_role(tuple(roles)) is None


def test_assistants_and_test_users_are_marked() -> None:
    assistant = course_role((MEMBERSHIP + "Instructor", ASSISTANT))
    test_user = course_role((MEMBERSHIP + "Learner", TEST_USER))
    assert assistant is not None and assistant.is_teaching_assistant
    assert test_user is not None and test_user.is_test


def test_each_role_is_explained() -> None:
    received = [
        MEMBERSHIP + "Instructor",
        ASSISTANT,
        "Learner",
        INSTITUTION + "Administrator",
        INSTITUTION + "Student",
        "http://evil.example/membership#Instructor",
        TEST_USER,
    ]
    assert [(role.role, role.use) for role in explain_roles(received)] == [
        (Role.TEACHER, RoleUse.DECIDES),
        (Role.TEACHER, RoleUse.MARKS),
        (Role.STUDENT, RoleUse.OUTRANKED),
        (Role.ADMINISTRATOR, RoleUse.ADMINISTERS),
        (None, RoleUse.ELSEWHERE),
        (None, RoleUse.UNKNOWN),
        (None, RoleUse.MARKS),
    ]


def test_no_role_decides_where_none_is_of_the_course() -> None:
    explained = explain_roles([INSTITUTION + "Administrator", "Wizard"])
    assert [role.use for role in explained] == [RoleUse.ADMINISTERS, RoleUse.UNKNOWN]
