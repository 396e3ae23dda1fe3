"""The form in which somebody makes an access token of their own."""

from datetime import timedelta

from flask_babel import LazyString, gettext
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from wtforms import Field, SelectField, SelectMultipleField, StringField, ValidationError

from app.api.oauth.scopes import all_groups
from app.courses.models import MAX_NAME
from app.text import clean_line

DAYS = {30: _l("30 days"), 90: _l("90 days"), 365: _l("A year")}
EVERYTHING = "everything"


class TokenForm(FlaskForm):
    """A name, for how long, and what for: groups of scopes, or everything that its person may do."""

    name = StringField(_l("Name"), description=_l("What the token is for, such as the script that uses it."))
    days = SelectField(_l("Works for"), coerce=int, default=90, validate_choice=False)
    groups = SelectMultipleField(_l("What may be done with it"), validate_choice=False)

    lifetimes = DAYS

    @property
    def reaches(self) -> dict[str, LazyString | str]:
        """What may be ticked, by key, in words."""
        everything = _l("Everything that I may do, now and later")
        return {group.key: group.words for group in all_groups()} | {EVERYTHING: everything}

    def validate_name(self, field: Field) -> None:
        """Want a name that fits on a line."""
        name = clean_line(field.data, 4 * MAX_NAME)
        if name is None:
            raise ValidationError(gettext("Write a name by which you will know the token again."))
        if len(name) > MAX_NAME:
            raise ValidationError(
                gettext("This is too long: at most %(limit)s characters fit.", limit=MAX_NAME)
            )

    def validate_days(self, field: Field) -> None:
        """Want one of the times that are offered."""
        if field.data not in DAYS:
            raise ValidationError(gettext("Choose for how long the token works."))

    def validate_groups(self, field: Field) -> None:
        """Want something to be allowed."""
        if not field.data or not set(field.data) <= set(self.reaches):
            raise ValidationError(gettext("Tick what may be done with the token."))

    @property
    def chosen_name(self) -> str:
        """The name in a form that is valid."""
        return clean_line(self.name.data, MAX_NAME) or ""

    @property
    def lifetime(self) -> timedelta:
        """For how long the token works."""
        return timedelta(days=self.days.data)

    @property
    def scopes(self) -> list[str] | None:
        """The scopes of the groups that are ticked; None for everything."""
        ticked = set(self.groups.data)
        if EVERYTHING in ticked:
            return None
        return sorted(scope for group in all_groups() if group.key in ticked for scope in group.scopes)
