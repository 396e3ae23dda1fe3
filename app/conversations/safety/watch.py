"""Looking at a reply while it is written, and holding back what may turn out to be unfit to read."""

from collections.abc import Sequence

from app.conversations.safety.findings import Finding
from app.conversations.safety.lists import SpeakersList
from app.conversations.safety.words import whole_tokens


class UnsafeReplyError(Exception):
    """A model has written what no student should read. ``text`` is how far it had come; it is never logged."""

    def __init__(self, findings: Sequence[Finding], text: str) -> None:
        super().__init__(", ".join(finding.category for finding in findings))
        self.findings, self.text = findings, text


class Watch:
    """Takes a reply piece by piece and gives back what may be shown: all but the words of a phrase that has begun.

    Each word is read once. The reply is looked at as a whole where a phrase of the lists ends, and at its own end.
    ``findings`` are those of a reply that is whole.
    """

    def __init__(self, listed: SpeakersList) -> None:
        self.findings: Sequence[Finding] = ()
        self._listed, self._automaton = listed, listed.automaton
        self._state = self._automaton.beginning
        self._text = ""
        self._read = self._safe = self._shown = 0
        self._has_hit = False

    def take(self, piece: str) -> str:
        """Add a piece and return what may be shown now. Raises `UnsafeReplyError`."""
        self._text += piece
        tokens, self._read = whole_tokens(self._text, self._read)
        for token in tokens:
            self._follow(token[0], token.end())
        return self._show(self._safe_until())

    def end(self) -> str:
        """Return the rest. Raises `UnsafeReplyError`."""
        self.findings = self._judged(len(self._text))
        return self._show(len(self._text))

    def _follow(self, token: str, end: int) -> None:
        self._state = self._automaton.step(self._state, self._automaton.kind_of(token))
        self._has_hit = self._has_hit or self._state.is_hit
        if self._has_hit and not self._state.is_open:
            self._judged(end)  # the exceptions to what was met have ended too
            self._has_hit = False
        if not self._has_hit and not self._state.is_deep:
            self._safe = end

    def _safe_until(self) -> int:
        """Return up to where nothing belongs to a phrase but its first word, by which nobody could tell it."""
        if self._has_hit or self._state.is_deep:
            return self._safe
        held = self._state.is_open or self._automaton.may_be_phrase(self._text[self._read :])
        return self._read if held else len(self._text)

    def _judged(self, end: int) -> list[Finding]:
        found = self._listed.look_at(self._text[:end])
        if any(finding.is_high for finding in found):
            raise UnsafeReplyError(found, self._text)
        return found

    def _show(self, end: int) -> str:
        start, self._shown = self._shown, max(self._shown, end)
        return self._text[start : self._shown]
