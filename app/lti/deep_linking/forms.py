"""The form in which a teacher chooses experiences."""

from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from wtforms import BooleanField, Field, SelectMultipleField, StringField, ValidationError

from app.experiences.models import Experience
from app.lti.deep_linking.service import Choice, LinkRequest
from app.points import read_points, want_maximum


class ChoiceForm(FlaskForm):
    """Which experiences, and how they are to be in the course."""

    experience = SelectMultipleField(coerce=int, validate_choice=False)
    publish = BooleanField(_l("Publish what I choose"))
    graded = BooleanField(_l("Graded"))
    points = StringField(_l("Points possible"))

    def __init__(
        self, wish: LinkRequest, listed: list[Experience], data: dict[str, Any] | None = None
    ) -> None:
        super().__init__(data=data)  # type: ignore[no-untyped-call]
        self.takes_several, self._listed = wish.takes_several, listed

    def validate_experience(self, field: Field) -> None:
        """Want one of the list, or several where the platform takes them."""
        chosen = set(field.data or ())
        if not chosen or (len(chosen) > 1 and not self.takes_several):
            raise ValidationError(gettext("Choose an experience."))
        if len(self.chosen) < len(chosen):
            raise ValidationError(gettext("An experience that you chose is no longer there. Choose again."))

    def validate_points(self, field: Field) -> None:
        """Want points where there is a grade."""
        if self.graded.data:
            want_maximum(self, field)

    @property
    def chosen(self) -> list[Experience]:
        """The chosen experiences, in the order of the list."""
        return [experience for experience in self._listed if experience.id in (self.experience.data or ())]

    @property
    def choice(self) -> Choice:
        """What a form that is valid says."""
        points = read_points(self.points.data) if self.graded.data else None
        return Choice(self.chosen, points, publishes=self.publish.data)
