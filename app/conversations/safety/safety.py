"""What looks at texts in this process, as the settings have it."""

from collections.abc import Sequence
from typing import Self, cast

from flask import current_app

from app.conversations.safety.findings import Check, Finding
from app.conversations.safety.help import HelpLine, HelpLinesError, HelpMessage, help_message, read_help_lines
from app.conversations.safety.lists import ListCheck, ListError, list_check
from app.conversations.safety.moderation import ProviderCheck
from app.conversations.safety.watch import UnsafeReplyError, Watch
from app.llm.interface import Speaker
from app.llm.moderation import Moderator
from app.settings import SafetyCheck, Settings, SettingsError


class Safety:
    """The lists, which are quick enough to look at a text before anything else happens, and a check beside them.

    ``beside`` takes its time, and is None where there is none: ask it while no database connection is held. It is never
    asked about a message that is refused.
    """

    def __init__(self, lists: ListCheck, beside: Check | None, help_lines: Sequence[HelpLine]) -> None:
        self._lists, self.beside, self._help_lines = lists, beside, help_lines

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build what the settings want. Raises `SettingsError`."""
        try:
            lists = list_check(*filter(None, [settings.safety_lists]))
            help_lines = read_help_lines(settings.help_lines)
        except ListError as error:
            raise SettingsError(f"SAFETY_LISTS: {error}") from error
        except HelpLinesError as error:
            raise SettingsError(f"HELP_LINES: {error}") from error
        moderator = Moderator.from_settings(settings)
        if settings.safety_check is SafetyCheck.OFF:
            lists = ListCheck(())
        return cls(lists, ProviderCheck(moderator) if moderator else None, help_lines)

    def look_at(self, text: str, speaker: Speaker) -> list[Finding]:
        """Return what the lists find in what `speaker` wrote."""
        return self._lists.look_at(text, speaker)

    def watch(self) -> Watch:
        """Return what looks at one reply while it is written."""
        return Watch(self._lists.by_speaker[Speaker.PERSONA])

    def look_closer(self, reply: str) -> list[Finding]:
        """Return what the check beside the lists finds in a whole reply. Raises `UnsafeReplyError`."""
        found = self.beside.look_at(reply, Speaker.PERSONA) if self.beside else []
        if any(finding.is_high for finding in found):
            raise UnsafeReplyError(found, reply)
        return found

    def help_message(self) -> HelpMessage:
        """Return what the tool says to a student in danger, in the language of the page."""
        return help_message(self._help_lines)


def current_safety() -> Safety:
    """Return the running application's."""
    return cast(Safety, current_app.extensions["safety"])
