"""The form in which a teacher writes an experience."""

import re
from typing import Any

from flask import request
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, FieldList, Form, FormField, HiddenField, StringField, TextAreaField

from app.errors import FieldError, InvalidInputError
from app.experiences.models import MAX_TITLE, Experience
from app.experiences.rules import MAX_METRICS, MAX_OBJECTIVES, MAX_TURNS

MAX_DIGITS = 10
# WTForms makes an entry for whatever a field's name ends in.
_EXPECTED = re.compile(r"[a-z_]+|learning_objectives-[0-9]{1,2}|evaluation_metrics-[0-9]{1,2}-[a-z_]+")


class MetricForm(Form):
    """One evaluation metric."""

    name = StringField(_l("Name"))
    description = TextAreaField(_l("What it looks at"))
    enabled = BooleanField(_l("Use it in evaluations"), default=True)
    visible_to_learners = BooleanField(_l("Students see it"))

    @property
    def blank(self) -> bool:
        """True where nothing was typed: a row that was only offered, or was emptied to remove it."""
        return not (self.name.data or "").strip() and not (self.description.data or "").strip()


class ExperienceForm(FlaskForm):
    """Keeps what was typed; the rules are those of `app.experiences.rules`, whose errors `show_errors` takes in."""

    title = StringField(_l("Title"))
    description = TextAreaField(_l("Description"))
    learning_objectives = FieldList(TextAreaField(_l("Learning objective")), _l("Learning objectives"))
    facts = TextAreaField(_l("Facts"))
    pedagogical_guidance = TextAreaField(_l("Pedagogical guidance"))
    persona_name = StringField(_l("Persona's name"))
    opening_line = TextAreaField(_l("Opening line"))
    evaluation_metrics = FieldList(FormField(MetricForm), _l("Evaluation metrics"))
    max_turns = StringField(_l("Messages a student may send"))
    seen = HiddenField()

    def __init__(self, experience: Experience | None = None) -> None:
        typed = MultiDict(
            (name, text) for name, text in request.form.items(multi=True) if _EXPECTED.fullmatch(name)
        )
        formdata = typed if request.method == "POST" else None
        super().__init__(formdata, obj=experience)  # type: ignore[no-untyped-call]
        self.evaluation_metrics.entries = self._metrics()

    max_title = MAX_TITLE
    max_objectives = MAX_OBJECTIVES
    max_metrics = MAX_METRICS
    turns_limit = MAX_TURNS

    def fields(self) -> dict[str, Any]:
        """Return what was typed, by field name."""
        typed = {name: value for name, value in self.data.items() if name not in {"csrf_token", "seen"}}
        return typed | {"evaluation_metrics": [entry.data for entry in self._metrics()]}

    def asks_for_row(self) -> bool:
        """Tell whether the form was sent for one more row, not to be saved."""
        return bool({"add_objective", "add_metric"} & request.form.keys())

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

    def offer_blank_metric(self) -> None:
        """Have one empty row for a further metric, up to the limit."""
        if len(self.evaluation_metrics.entries) < MAX_METRICS:
            self.evaluation_metrics.append_entry()

    def show_errors(self, error: InvalidInputError) -> None:
        """Write at each field what is wrong with it."""
        for name, found in error.errors.items():
            self[name].errors = [sentence(problem) for problem in found]
        if self.evaluation_metrics.errors:
            self.evaluation_metrics.entries = self._metrics()

    def _metrics(self) -> list[FormField]:
        return [entry for entry in self.evaluation_metrics.entries if not entry.form.blank]


def form_for(experience: Experience | None = None) -> ExperienceForm:
    """Return a form filled with what was typed, else with the experience."""
    form = ExperienceForm(experience)
    form.offer_blank_objective()
    form.offer_blank_metric()
    if experience is not None:
        form.show(experience)
    return form


def sentence(problem: FieldError) -> str:
    """Say in a sentence what is wrong with a field. Of an entry, nothing but its name has to be filled in."""
    if problem.entry is None:
        return _sentence(problem)
    said = gettext("Please give it a name.") if problem.type == "blank" else _sentence(problem)
    return gettext("Number %(number)s: %(sentence)s", number=problem.entry, sentence=said)


def _sentence(problem: FieldError) -> str:
    number = gettext("Please give a whole number from 1 to %(limit)s, or nothing.", limit=MAX_TURNS)
    return {
        "blank": gettext("Please fill this in."),
        "too_long": gettext("This is too long: at most %(limit)s characters fit.", limit=problem.limit),
        "too_many": gettext("There are too many: at most %(limit)s fit.", limit=problem.limit),
        "taken": gettext("Another has this name already."),
        "not_an_integer": number,
        "greater_than_or_equal_to": number,
        "less_than_or_equal_to": number,
    }.get(problem.type, gettext("This cannot be read as it is."))
