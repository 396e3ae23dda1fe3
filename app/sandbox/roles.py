"""How Canvas says in LTI what somebody is."""

from collections.abc import Iterable

from app.sandbox.people import CanvasRole, Enrollment, Person

MEMBERSHIP = "http://purl.imsglobal.org/vocab/lis/v2/membership"
INSTITUTION = "http://purl.imsglobal.org/vocab/lis/v2/institution/person"
SYSTEM = "http://purl.imsglobal.org/vocab/lis/v2/system/person"
TEST_USER = "http://purl.imsglobal.org/vocab/lti/system/person#TestUser"

COURSE_ROLES: dict[CanvasRole, tuple[str, ...]] = {
    CanvasRole.TEACHER: (f"{MEMBERSHIP}#Instructor",),
    CanvasRole.ASSISTANT: (f"{MEMBERSHIP}#Instructor", f"{MEMBERSHIP}/Instructor#TeachingAssistant"),
    CanvasRole.DESIGNER: (f"{MEMBERSHIP}#ContentDeveloper",),
    CanvasRole.STUDENT: (f"{MEMBERSHIP}#Learner",),
    CanvasRole.OBSERVER: (f"{MEMBERSHIP}#Mentor",),
    CanvasRole.STUDENT_VIEW: (f"{MEMBERSHIP}#Learner", TEST_USER),
}

# What an enrollment in any course makes of somebody in the institution as a whole.
INSTITUTION_ROLES: dict[CanvasRole, str] = {
    CanvasRole.TEACHER: f"{INSTITUTION}#Instructor",
    CanvasRole.ASSISTANT: f"{INSTITUTION}#Instructor",
    CanvasRole.DESIGNER: f"{INSTITUTION}#Instructor",
    CanvasRole.STUDENT: f"{INSTITUTION}#Student",
    CanvasRole.OBSERVER: f"{INSTITUTION}#Observer",
    CanvasRole.STUDENT_VIEW: f"{INSTITUTION}#Student",
}

ROLE_NAMES: dict[CanvasRole, str] = {
    CanvasRole.TEACHER: "Teacher",
    CanvasRole.ASSISTANT: "Teaching assistant",
    CanvasRole.DESIGNER: "Designer",
    CanvasRole.STUDENT: "Student",
    CanvasRole.OBSERVER: "Observer",
    CanvasRole.STUDENT_VIEW: "Student view",
}


def membership_roles(enrollments: Iterable[Enrollment]) -> list[str]:
    """The course roles, as the roster names them."""
    return sorted({role for entry in enrollments for role in COURSE_ROLES[entry.role]})


def launch_roles(person: Person, *, here: Iterable[Enrollment], anywhere: Iterable[Enrollment]) -> list[str]:
    """The roles of a launch: in this course, in the institution by way of any course, and in the system."""
    roles = {f"{SYSTEM}#User", *membership_roles(here)}
    roles.update(INSTITUTION_ROLES[entry.role] for entry in anywhere)
    if person.administrator:
        roles.add(f"{INSTITUTION}#Administrator")
    return sorted(roles)


def canvas_role_names(person: Person, enrollments: Iterable[Enrollment]) -> str:
    """The value of `$Canvas.membership.roles`: Canvas's own words, with commas."""
    names = {entry.role.value for entry in enrollments}
    return ",".join(sorted(names | ({"Account Admin"} if person.administrator else set())))


def describe(person: Person, enrollments: Iterable[Enrollment]) -> str:
    """What somebody is in a course, for people to read."""
    names = list(dict.fromkeys(ROLE_NAMES[entry.role] for entry in enrollments))
    if person.administrator:
        names.append("Account administrator")
    return ", ".join(names) or "Not in this course"
