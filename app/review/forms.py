"""The form in which a teacher grades a student's work."""

from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from wtforms import Field, HiddenField, StringField, TextAreaField, ValidationError

from app.lti.services.grades import Grade, Standing
from app.points import read_points, show_points, want_maximum
from app.text import clean_text

MAX_COMMENT = 4_000
MAX_DIGITS = 10


class GradeForm(FlaskForm):
    """Points, what they are out of, a comment, and how much of the student's scores the teacher has seen."""

    points = StringField(_l("Points"))
    maximum = StringField(_l("Out of"), [want_maximum])
    comment = TextAreaField(_l("Comment"))
    seen = HiddenField()

    max_comment = MAX_COMMENT

    def validate_points(self, field: Field) -> None:
        """Want a number from 0 to the maximum."""
        points, maximum = read_points(field.data), read_points(self.maximum.data)
        if points is None:
            raise ValidationError(gettext("Write a number, such as 8 or 8.5."))
        if maximum is not None and points > maximum > 0:
            raise ValidationError(gettext("These are more points than there are."))

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


def grade_form(standing: Standing) -> GradeForm:
    """Return a form filled with the latest grade."""
    grade = standing.grade
    form = GradeForm(  # type: ignore[no-untyped-call]
        formdata=None,
        data={
            "points": show_points(grade.score_given) if grade else "",
            "maximum": show_points(standing.maximum),
            "comment": grade.comment if grade else "",
        },
    )
    form.show(standing)
    return form
