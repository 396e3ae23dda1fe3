"""The form in which a teacher grades a student's work."""

import re

from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from wtforms import Field, HiddenField, StringField, TextAreaField, ValidationError

from app.lti.grades import Grade, Standing
from app.text import clean_text

MAX_POINTS = 10_000
MAX_COMMENT = 4_000
MAX_DIGITS = 10
_NUMBER = re.compile(r"[0-9]{1,6}(?:[.,][0-9]{1,2})?")


class GradeForm(FlaskForm):
    """Points, what they are out of, a comment, and how much of the student's scores the teacher has seen."""

    points = StringField(_l("Points"))
    maximum = StringField(_l("out of"))
    comment = TextAreaField(_l("Comment"))
    seen = HiddenField()

    max_comment = MAX_COMMENT

    def validate_points(self, field: Field) -> None:
        """Want a number from 0 to the maximum."""
        points, maximum = _number(field.data), _number(self.maximum.data)
        if points is None:
            raise ValidationError(gettext("Write a number, such as 8 or 8.5."))
        if maximum is not None and points > maximum > 0:
            raise ValidationError(gettext("These are more points than there are."))

    def validate_maximum(self, field: Field) -> None:
        """Want a number above 0."""
        maximum = _number(field.data)
        if maximum is None or not 0 < maximum <= MAX_POINTS:
            raise ValidationError(
                gettext("Write how many points there are: above 0, at most %(limit)s.", limit=MAX_POINTS)
            )

    def validate_comment(self, field: Field) -> None:
        """Want a comment that fits."""
        if len(clean_text(field.data or "")) > MAX_COMMENT:
            raise ValidationError(
                gettext("This is too long: at most %(limit)s characters fit.", limit=MAX_COMMENT)
            )

    @property
    def grade(self) -> Grade:
        """The grade of a form that is valid."""
        points, maximum = _number(self.points.data), _number(self.maximum.data)
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
            "points": _plain(grade.score_given) if grade else "",
            "maximum": _plain(standing.maximum),
            "comment": grade.comment if grade else "",
        },
    )
    form.show(standing)
    return form


def _number(text: str | None) -> float | None:
    text = (text or "").strip()
    return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")
