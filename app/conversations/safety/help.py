"""The humane message for a student who writes of harming themselves, with the help lines of the institution."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from flask_babel import gettext
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

# A directory of help lines all over the world, for institutions that have named none of their own.
DIRECTORY = "https://findahelpline.com"
Line = Annotated[str, Field(min_length=1, max_length=200)]


class HelpLinesError(Exception):
    """Help lines that cannot be read; the message names their file."""


class HelpLine(BaseModel):
    """Somebody who can be reached: by ``phone``, by ``link``, or by both; ``hours`` says when."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    name: Line
    phone: Line | None = None
    link: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    hours: Line | None = None

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not (self.phone or self.link):
            raise ValueError(f"{self.name} has neither phone nor link")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    help_lines: Annotated[tuple[HelpLine, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class HelpMessage:
    """What the tool says to the student, in the language of the page: first who helps at once."""

    title: str
    lines: Sequence[HelpLine]
    sentences: Sequence[str]

    def as_text(self) -> str:
        """Return it as plain text, a paragraph a line."""
        return "\n".join([self.title, *map(_as_text, self.lines), *self.sentences])


def read_help_lines(path: Path | None) -> tuple[HelpLine, ...]:
    """Read the institution's help lines; none without a file. Raises `HelpLinesError`."""
    if path is None:
        return ()
    try:
        return _File.model_validate(tomllib.loads(path.read_text("utf-8"))).help_lines
    except (OSError, ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HelpLinesError(f"{path}: {error}") from error


def help_message(lines: Sequence[HelpLine]) -> HelpMessage:
    """Return the message with these help lines, or without any with where some are found."""
    return HelpMessage(
        title=gettext("This is a message from the tool, not from the character you talk with."),
        lines=lines or [HelpLine(name=gettext("Help lines in your country"), link=DIRECTORY)],
        sentences=[
            gettext("If you are in danger right now, call the emergency number of the place where you are."),
            gettext(
                "What you wrote sounds as if you may be thinking of hurting yourself. If that is so, please do not "
                "stay alone with it. Talk to somebody now: a friend, your family, your teacher, a doctor, or the "
                "people here, who listen and help."
            ),
            gettext(
                "The teachers of this course are told of your message, so that somebody can ask how you are. If you "
                "were only playing a part, you can simply go on."
            ),
        ],
    )


def _as_text(line: HelpLine) -> str:
    ways = ", ".join(way for way in (line.phone, line.link) if way)
    return f"{line.name}: {ways} ({line.hours})" if line.hours else f"{line.name}: {ways}"
