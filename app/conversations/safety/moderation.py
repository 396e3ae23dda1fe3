"""A provider's moderation as a check: what its categories mean here."""

import logging

from app.conversations.safety.findings import Category, Finding, Severity, worst_by_category
from app.llm.interface import ModelError, Speaker
from app.llm.moderation import Moderator

logger = logging.getLogger(__name__)
_HIGH, _LOW = Severity.HIGH, Severity.LOW
# Categories that say only what a text is about (self-harm, violence) are none of these: lessons are about all of it.
# A persona may say that it wants to die, which is what a student of nursing is to hear.
_MEANINGS: dict[Speaker, dict[str, tuple[Category, Severity]]] = {
    Speaker.STUDENT: {
        "self-harm/intent": (Category.SELF_HARM, _HIGH),
        "harassment/threatening": (Category.VIOLENCE, _LOW),
        "hate/threatening": (Category.VIOLENCE, _HIGH),
        "illicit/violent": (Category.VIOLENCE, _HIGH),
        "harassment": (Category.ABUSE, _LOW),
        "hate": (Category.ABUSE, _LOW),
        "sexual": (Category.ABUSE, _LOW),
        "sexual/minors": (Category.ABUSE, _HIGH),
    },
    Speaker.PERSONA: {
        "self-harm/instructions": (Category.SELF_HARM, _HIGH),
        "self-harm/intent": (Category.SELF_HARM, _LOW),
        "harassment/threatening": (Category.VIOLENCE, _LOW),
        "hate/threatening": (Category.VIOLENCE, _HIGH),
        "illicit/violent": (Category.VIOLENCE, _HIGH),
        "hate": (Category.ABUSE, _HIGH),
        "sexual": (Category.ABUSE, _HIGH),
        "sexual/minors": (Category.ABUSE, _HIGH),
    },
}


class ProviderCheck:
    """Asks a provider, which takes a moment: not to be called while a database connection is held."""

    def __init__(self, moderator: Moderator) -> None:
        self._moderator = moderator

    def look_at(self, text: str, speaker: Speaker) -> list[Finding]:
        """See `Check.look_at`. A provider does not say where; one that does not answer finds nothing."""
        try:
            named = self._moderator.categories(text)
        except ModelError as error:
            logger.warning("the moderation endpoint did not answer, the lists alone have looked: %s", error)
            return []
        meanings = _MEANINGS[speaker]
        return worst_by_category(
            Finding(*meanings[name], start=0, end=len(text)) for name in sorted(named) if name in meanings
        )
