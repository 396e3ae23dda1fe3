"""Points, as teachers write and read them."""

import re

from flask_babel import gettext
from flask_wtf import FlaskForm
from wtforms import Field, ValidationError

MAX_POINTS = 10_000
_NUMBER = re.compile(r"[0-9]{1,6}(?:[.,][0-9]{1,2})?")


def read_points(text: str | None) -> float | None:
    """Return a number as somebody wrote it, with a decimal point or comma; None for anything else."""
    text = (text or "").strip()
    return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None


def read_maximum(text: str | None) -> float | None:
    """Return points to be reached as somebody wrote them: above 0, of which no platform makes an exception."""
    maximum = read_points(text)
    return maximum if maximum is not None and 0 < maximum <= MAX_POINTS else None


def show_points(value: float | None) -> str:
    """Return points without needless digits, to be changed in a form."""
    return "" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def want_maximum(_form: FlaskForm, field: Field) -> None:
    """Validate a field of points to be reached: a number above 0."""
    if read_maximum(field.data) is None:
        raise ValidationError(
            gettext(
                "Write how many points are possible: above 0, at most %(limit)s. The gradebook takes no 0.",
                limit=MAX_POINTS,
            )
        )
