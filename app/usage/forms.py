"""The form in which an administrator decides what a course may use."""

import re

from flask_babel import format_decimal, gettext
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from wtforms import Field, StringField, ValidationError

from app.usage.budgets import MOST_TOKENS, CourseUse

# Digits in a row, or in groups of three as people part them.
_NUMBER = re.compile(r"[0-9]{1,16}|[0-9]{1,3}(?:[ \u00a0\u202f,.'\u2019][0-9]{3}){1,5}")


class BudgetForm(FlaskForm):
    """A course's budget in tokens a month; left empty, the setting for all courses holds."""

    tokens = StringField(_l("Tokens that this course may use in a month"))

    def validate_tokens(self, field: Field) -> None:
        """Want nothing or a whole number."""
        text = (field.data or "").strip()
        if text and (not _NUMBER.fullmatch(text) or (self.budget or 0) > MOST_TOKENS):
            raise ValidationError(
                gettext(
                    "Write a whole number, at most %(limit)s, or nothing.", limit=format_decimal(MOST_TOKENS)
                )
            )

    @property
    def budget(self) -> int | None:
        """The budget of a form that is valid."""
        digits = "".join(re.findall("[0-9]", self.tokens.data or ""))
        return int(digits) if digits else None


def budget_form(use: CourseUse) -> BudgetForm:
    """Return a form filled with what holds for a course."""
    tokens = "" if use.own_budget is None else str(use.own_budget)
    return BudgetForm(formdata=None, data={"tokens": tokens})  # type: ignore[no-untyped-call]
