"""The form in which a teacher writes an experience."""

import re
from typing import Any

from flask import request
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import FieldList, HiddenField, StringField, TextAreaField

from app.errors import FieldError, InvalidInputError
from app.experiences.models import MAX_TITLE, Experience
from app.experiences.rules import MAX_OBJECTIVES

MAX_DIGITS = 10
# WTForms makes an entry for whatever a field's name ends in.
_EXPECTED = re.compile(r"[a-z_]+|learning_objectives-[0-9]{1,2}")


class ExperienceForm(FlaskForm):
    """Keeps what was typed; the rules are those of `app.experiences.rules`, whose errors `show_errors` takes in."""

    title = StringField(_l("Title"))
    description = TextAreaField(_l("Description"))
    learning_objectives = FieldList(TextAreaField(_l("Learning objective")), _l("Learning objectives"))
    facts = TextAreaField(_l("Facts"))
    pedagogical_guidance = TextAreaField(_l("Pedagogical guidance"))
    persona_name = StringField(_l("Persona's name"))
    opening_line = TextAreaField(_l("Opening line"))
    seen = HiddenField()

    def __init__(self, experience: Experience | None = None) -> None:
        typed = MultiDict(
            (name, text) for name, text in request.form.items(multi=True) if _EXPECTED.fullmatch(name)
        )
        formdata = typed if request.method == "POST" else None
        super().__init__(formdata, obj=experience)  # type: ignore[no-untyped-call]

    max_title = MAX_TITLE
    max_objectives = MAX_OBJECTIVES

    def fields(self) -> dict[str, Any]:
        """Return what was typed, by field name."""
        return {name: value for name, value in self.data.items() if name not in {"csrf_token", "seen"}}

    def seen_version(self) -> int | None:
        """Return which version of the experience the writer has seen."""
        seen = self.seen.data or ""
        return int(seen) if seen.isdecimal() and seen.isascii() and len(seen) < MAX_DIGITS else None

    def show(self, experience: Experience) -> None:
        """Note that the writer sees the experience as it is now."""
        self.seen.data = str(experience.version)

    def offer_blank_objective(self) -> None:
        """Have one empty line for a further objective, up to the limit."""
        entries = self.learning_objectives.entries
        if len(entries) < MAX_OBJECTIVES and (not entries or entries[-1].data):
            self.learning_objectives.append_entry("")

    def show_errors(self, error: InvalidInputError) -> None:
        """Write at each field what is wrong with it."""
        for name, found in error.errors.items():
            self[name].errors = [sentence(problem) for problem in found]


def form_for(experience: Experience | None = None) -> ExperienceForm:
    """Return a form filled with what was typed, else with the experience."""
    form = ExperienceForm(experience)
    form.offer_blank_objective()
    if experience is not None:
        form.show(experience)
    return form


def sentence(problem: FieldError) -> str:
    """Say in a sentence what is wrong with a field."""
    return {
        "blank": gettext("Please fill this in."),
        "too_long": gettext("This is too long: at most %(limit)s characters fit.", limit=problem.limit),
        "too_many": gettext("There are too many: at most %(limit)s fit.", limit=problem.limit),
    }[problem.type]
