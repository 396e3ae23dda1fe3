"""The form in which a teacher grades a student's work."""

from flask_babel import format_decimal, gettext
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from wtforms import Field, HiddenField, StringField, TextAreaField, ValidationError

from app.lti.models import Score
from app.lti.services.grades import DEFAULT_MAXIMUM, Grade, Standing
from app.points import read_maximum, read_points, show_points, want_maximum
from app.text import clean_text

MAX_COMMENT = 4_000
MAX_DIGITS = 10


class GradeForm(FlaskForm):
    """Points, what they are out of, a comment, and how much of the student's scores the teacher has seen.

    ``own_maximum`` is what the column is out of, where that is known: then nobody has to write it.
    """

    points = StringField(_l("Points"))
    maximum = StringField(_l("Out of"), [want_maximum])
    comment = TextAreaField(_l("Comment"))
    seen = HiddenField()

    max_comment = MAX_COMMENT
    own_maximum: float | None = None

    def validate_points(self, field: Field) -> None:
        """Want a number from 0 to the maximum."""
        points, maximum = read_points(field.data), read_points(self.maximum.data)
        if points is None:
            raise ValidationError(gettext("Write a number, such as 8 or 8.5."))
        if maximum is not None and points > maximum > 0:
            raise ValidationError(gettext("At most %(maximum)s points.", maximum=format_decimal(maximum)))

    def validate_comment(self, field: Field) -> None:
        """Want a comment that fits."""
        if len(clean_text(field.data or "")) > MAX_COMMENT:
            raise ValidationError(
                gettext("This is too long: at most %(limit)s characters fit.", limit=MAX_COMMENT)
            )

    @property
    def grade(self) -> Grade:
        """The grade of a form that is valid."""
        points, maximum = read_points(self.points.data), read_points(self.maximum.data)
        return Grade(points or 0.0, maximum or 0.0, clean_text(self.comment.data or ""))

    def seen_score(self) -> int:
        """Return the latest score that the teacher has seen; 0 for none."""
        seen = self.seen.data or ""
        return int(seen) if seen.isdecimal() and seen.isascii() and len(seen) < MAX_DIGITS else 0

    def show(self, standing: Standing) -> None:
        """Note that the teacher sees the student's scores as they are now."""
        self.seen.data = str(standing.seen)

    def keep_to_column(self, standing: Standing) -> None:
        """Have points entered as the column's own, where what it is out of is known and can be written."""
        self.own_maximum = read_maximum(show_points(standing.maximum))
        if self.own_maximum is not None:
            self.maximum.data = show_points(self.own_maximum)


def grade_form(standing: Standing) -> GradeForm:
    """Return a form filled with the latest grade of the work."""
    grade = standing.grade
    usual = None if standing.columns else DEFAULT_MAXIMUM
    form = GradeForm(  # type: ignore[no-untyped-call]
        formdata=None,
        data={
            "maximum": show_points(grade.score_maximum if grade else usual),
            "comment": grade.comment if grade else "",
        },
    )
    form.show(standing)
    form.keep_to_column(standing)
    form.points.data = show_points(_points_of(grade, form.own_maximum)) if grade else ""
    return form


def _points_of(grade: Score, maximum: float | None) -> float | None:
    """Return a grade's points, in those of a column that is out of something else."""
    if grade.score_given is None or not grade.score_maximum or maximum is None:
        return grade.score_given
    return grade.score_given * maximum / grade.score_maximum
