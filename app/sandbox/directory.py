"""Who is who, and who is in which course."""

from collections.abc import Iterable
from dataclasses import replace
from threading import RLock

from app.sandbox.people import (
    COURSES,
    ENROLLMENTS,
    PEOPLE,
    CanvasRole,
    Course,
    Enrollment,
    EnrollmentState,
    Person,
)

FIRST_EXTRA_ID = 10_000
FIRST_COURSE_ID = 2_000


class Directory:
    """The accounts and enrollments of one sandbox: the shared cast, and whoever a test adds."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._people: dict[str, Person] = {}
        self._by_id: dict[str, Person] = {}
        self._courses = {course.canvas_id: course for course in COURSES}
        self._enrollments = list(ENROLLMENTS)
        for person in PEOPLE:
            self.add_person(person)

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody with an account."""
        with self._lock:
            return tuple(self._people.values())

    @property
    def courses(self) -> tuple[Course, ...]:
        """Every course."""
        with self._lock:
            return tuple(self._courses.values())

    def person(self, key: str | int) -> Person | None:
        """Somebody by login, LTI id, older opaque id or Canvas id."""
        with self._lock:
            return self._people.get(str(key)) or self._by_id.get(str(key))

    def course(self, canvas_id: int) -> Course | None:
        """A course by its Canvas id."""
        return self._courses.get(canvas_id)

    def enrollments(self, course: Course) -> list[tuple[Person, Enrollment]]:
        """Who is in a course, in the order of their enrollment."""
        with self._lock:
            return [
                (self._people[entry.login], entry)
                for entry in self._enrollments
                if entry.course_id == course.canvas_id
            ]

    def enrollments_of(self, person: Person, course: Course | None = None) -> list[Enrollment]:
        """Somebody's active enrollments, in one course or in all."""
        with self._lock:
            return [
                entry
                for entry in self._enrollments
                if entry.login == person.login
                and entry.state is EnrollmentState.ACTIVE
                and (course is None or entry.course_id == course.canvas_id)
            ]

    def may_enter(self, person: Person, course: Course) -> bool:
        """Whether somebody may open a course: its active members and the account's administrators."""
        return person.administrator or bool(self.enrollments_of(person, course))

    def add_person(self, person: Person) -> Person:
        """Give somebody an account, or the one that they have other fields."""
        with self._lock:
            self._people[person.login] = person
            self._by_id.update(dict.fromkeys(_ids_of(person), person))
        return person

    def add_course(self, title: str, *, copied_from: Iterable[str] = (), color: str = "plum") -> Course:
        """Make an empty course; ``copied_from`` are the context ids of its history, the nearest first."""
        with self._lock:
            number = FIRST_COURSE_ID + len(self._courses)
            course = Course(
                number,
                f"COURSE-{number}",
                title,
                "This term",
                (),
                color=color,
                copied_from=tuple(copied_from),
            )
            self._courses[number] = course
        return course

    def enroll(self, person: Person, course: Course, role: CanvasRole) -> None:
        """Add somebody to a course, with an account where they have none yet."""
        with self._lock:
            if person.login not in self._people:
                self.add_person(person)
            self._enrollments.append(Enrollment(person.login, course.canvas_id, role))

    def add_students(self, course: Course, count: int) -> list[Person]:
        """Fill a course with so many more students, for rosters of many pages."""
        with self._lock:
            start = FIRST_EXTRA_ID + len(self._people)
            students = [_extra_student(number) for number in range(start, start + count)]
            for student in students:
                self.enroll(student, course, CanvasRole.STUDENT)
        return students

    def end_enrollments(self, person: Person, course: Course) -> None:
        """Make somebody inactive in a course: the roster still lists them, as such."""
        with self._lock:
            self._enrollments = list(_ended(self._enrollments, person, course))

    def remove_enrollments(self, person: Person, course: Course) -> None:
        """Take somebody out of a course: the roster no longer lists them."""
        with self._lock:
            self._enrollments = [entry for entry in self._enrollments if not _joins(entry, person, course)]


def _ids_of(person: Person) -> tuple[str, str, str]:
    return person.sub, person.lti11_id, str(person.canvas_id)


def _extra_student(number: int) -> Person:
    return Person(number, f"student.{number}", "Student", f"No. {number}", sis_id=f"X-{number}")


def _joins(entry: Enrollment, person: Person, course: Course) -> bool:
    return entry.login == person.login and entry.course_id == course.canvas_id


def _ended(entries: Iterable[Enrollment], person: Person, course: Course) -> Iterable[Enrollment]:
    for entry in entries:
        yield replace(entry, state=EnrollmentState.INACTIVE) if _joins(entry, person, course) else entry
