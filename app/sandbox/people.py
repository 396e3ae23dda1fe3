"""The people and courses of the sandbox. Invented; any likeness is chance."""

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from uuid import UUID, uuid5

_NAMESPACE = UUID("6f4f5a3c-6a0e-4c5e-9a53-2a6a6f1d7c11")


class CanvasRole(StrEnum):
    """The enrollment types of Canvas; the value is Canvas's word in `$Canvas.membership.roles`."""

    TEACHER = "TeacherEnrollment"
    ASSISTANT = "TaEnrollment"
    DESIGNER = "DesignerEnrollment"
    STUDENT = "StudentEnrollment"
    OBSERVER = "ObserverEnrollment"
    STUDENT_VIEW = "StudentViewEnrollment"


class EnrollmentState(StrEnum):
    """Whether somebody still takes part in a course."""

    ACTIVE = "active"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account. ``login`` names them in addresses; everything else follows from it.

    Both names empty is somebody whose name the platform keeps to itself.
    """

    canvas_id: int
    login: str
    given_name: str
    family_name: str
    sis_id: str | None = None
    locale: str = "en"
    timezone: str = "America/New_York"
    high_contrast: bool = False
    administrator: bool = False
    has_email: bool = True

    @property
    def name(self) -> str:
        """The full name."""
        return f"{self.given_name} {self.family_name}".strip()

    @property
    def sortable_name(self) -> str:
        """The name as a gradebook sorts it."""
        return ", ".join(part for part in (self.family_name, self.given_name) if part)

    @property
    def email(self) -> str | None:
        """Their address on a domain that delivers nothing; a test student has none."""
        return f"{self.login}@sandbox.example" if self.has_email else None

    @property
    def sub(self) -> str:
        """The LTI 1.3 user id, the same on every start."""
        return str(uuid5(_NAMESPACE, self.login))

    @property
    def lti11_id(self) -> str:
        """The older opaque id, which Canvas also uses as login hint."""
        return _opaque(f"user:{self.login}")

    @property
    def initials(self) -> str:
        """Letters for the avatar."""
        return (self.given_name[:1] + self.family_name[:1]).upper()


@dataclass(frozen=True, slots=True)
class Course:
    """A course; ``copied_from`` are the contexts that it was copied from, latest first."""

    canvas_id: int
    code: str
    title: str
    term: str
    section_ids: tuple[int, ...]
    sis_id: str | None = None
    color: str = "teal"
    copied_from: tuple[str, ...] = ()

    @property
    def context_id(self) -> str:
        """The opaque LTI context id: forty hexadecimal digits, as in Canvas."""
        return _opaque(f"course:{self.canvas_id}")


@dataclass(frozen=True, slots=True)
class Enrollment:
    """Somebody's part in a course; ``observes`` is the login of the student whom an observer is linked to."""

    login: str
    course_id: int
    role: CanvasRole
    state: EnrollmentState = field(default=EnrollmentState.ACTIVE)
    observes: str | None = None


def _opaque(text: str) -> str:
    return sha256(f"{_NAMESPACE}:{text}".encode()).hexdigest()[:40]


BIOLOGY = Course(
    1101,
    "BIO-101",
    "Introduction to Cell Biology",
    "Fall term",
    (4101, 4102),
    sis_id="bio-101-fall",
    color="teal",
    copied_from=(_opaque("course:1001"),),
)
HISTORY = Course(1102, "HIS-205", "Cities of the Ancient World", "Fall term", (4201,), color="plum")
BIOLOGY_COPY = Course(
    1103,
    "BIO-101-S",
    "Biology 101 (spring copy)",
    "Spring term",
    (4301,),
    color="moss",
    copied_from=(BIOLOGY.context_id, *BIOLOGY.copied_from),
)
COURSES = (BIOLOGY, HISTORY, BIOLOGY_COPY)

PEOPLE = (
    Person(201, "miriam.okafor", "Miriam", "Okafor", sis_id="E-2001"),
    Person(202, "jonas.lindqvist", "Jonas", "Lindqvist", sis_id="E-2002", timezone="Europe/Stockholm"),
    Person(203, "priya.raman", "Priya", "Raman", sis_id="G-3107"),
    Person(204, "elena.petrova", "Elena", "Petrova", sis_id="E-2040"),
    Person(301, "amara.diallo", "Amara", "Diallo", sis_id="S-5001"),
    Person(302, "liam.oconnor", "Liam", "O'Connor", sis_id="S-5002"),
    Person(303, "mai.nguyen", "Thị Mai", "Nguyễn", sis_id="S-5003", timezone="Asia/Ho_Chi_Minh"),
    Person(304, "sofia.hernandez", "Sofía", "Hernández-Castillo", sis_id="S-5004", locale="es"),
    Person(305, "yusuf.demir", "Yusuf", "Demir", sis_id="S-5005", high_contrast=True),
    Person(306, "chloe.tran", "Chloe", "Tran"),
    Person(307, "mateus.silva", "Mateus", "Silva", sis_id="S-5007", locale="pt-BR"),
    Person(308, "kenji.watanabe", "Kenji", "Watanabe", sis_id="S-5008", timezone="Asia/Tokyo"),
    Person(309, "fatima.alzahra", "Fatima", "Al-Zahra", sis_id="S-5009"),
    Person(310, "noah.williams", "Noah", "Williams", sis_id="S-5010"),
    Person(401, "grace.diallo", "Grace", "Diallo"),
    Person(901, "test.student.1101", "Test", "Student", has_email=False),
    Person(902, "test.student.1102", "Test", "Student", has_email=False),
    Person(903, "test.student.1103", "Test", "Student", has_email=False),
    Person(101, "ingrid.bauer", "Ingrid", "Bauer", sis_id="E-1001", administrator=True),
)

ENROLLMENTS = (
    Enrollment("miriam.okafor", 1101, CanvasRole.TEACHER),
    Enrollment("priya.raman", 1101, CanvasRole.ASSISTANT),
    Enrollment("elena.petrova", 1101, CanvasRole.DESIGNER),
    Enrollment("amara.diallo", 1101, CanvasRole.STUDENT),
    Enrollment("liam.oconnor", 1101, CanvasRole.STUDENT),
    Enrollment("mai.nguyen", 1101, CanvasRole.STUDENT),
    Enrollment("sofia.hernandez", 1101, CanvasRole.STUDENT),
    Enrollment("yusuf.demir", 1101, CanvasRole.STUDENT),
    Enrollment("chloe.tran", 1101, CanvasRole.STUDENT),
    Enrollment("jonas.lindqvist", 1101, CanvasRole.STUDENT),
    Enrollment("mateus.silva", 1101, CanvasRole.STUDENT, EnrollmentState.INACTIVE),
    Enrollment("grace.diallo", 1101, CanvasRole.OBSERVER, observes="amara.diallo"),
    Enrollment("test.student.1101", 1101, CanvasRole.STUDENT_VIEW),
    Enrollment("jonas.lindqvist", 1102, CanvasRole.TEACHER),
    Enrollment("elena.petrova", 1102, CanvasRole.DESIGNER),
    Enrollment("priya.raman", 1102, CanvasRole.STUDENT),
    Enrollment("amara.diallo", 1102, CanvasRole.STUDENT),
    Enrollment("kenji.watanabe", 1102, CanvasRole.STUDENT),
    Enrollment("fatima.alzahra", 1102, CanvasRole.STUDENT),
    Enrollment("noah.williams", 1102, CanvasRole.STUDENT),
    Enrollment("test.student.1102", 1102, CanvasRole.STUDENT_VIEW),
    Enrollment("miriam.okafor", 1103, CanvasRole.TEACHER),
    Enrollment("kenji.watanabe", 1103, CanvasRole.STUDENT),
    Enrollment("noah.williams", 1103, CanvasRole.STUDENT),
    Enrollment("test.student.1103", 1103, CanvasRole.STUDENT_VIEW),
)
