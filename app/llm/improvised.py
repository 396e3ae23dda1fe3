"""What a persona without a script says: sentences of the experience's facts, and what politeness asks for."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from app.llm.interface import ChatRequest, Speaker

SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?!\s)[^.!?\n]*)*[.!?]*")
WORD = re.compile(r"[^\W_]+")
ENDINGS = re.compile(r"(?:ings?|ed|es|s|e)$")
SHORTEST_STEM = 3
# Said so recently that saying it again would sound like a parrot.
RECENT_LINES = 2
COMMON = frozenset(
    WORD.findall(
        "about after all also and any are because been but can could did does for from had has have "
        "her here him his how into its just know like more much not now our out over please she "
        "should some tell than that the their them then there they this very was were what when "
        "where which who why will with would you your "
    )
)
# In this order: a thank-you that also says sorry is a thank-you.
COURTESIES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(?:thanks?|thank you|cheers)\b", re.I), "You're welcome. Is there anything else?"),
    (re.compile(r"\b(?:sorry|apolog\w+|forgive)\b", re.I), "That's all right. Thank you for saying so."),
    (re.compile(r"\b(?:good)?bye\b|\bsee you\b", re.I), "Goodbye, and thank you for the conversation."),
    (
        re.compile(r"\b(?:hello|hi|hey|good (?:morning|afternoon|evening))\b", re.I),
        "Hello! What shall we talk about?",
    ),
)
DEFLECTIONS = (
    "I don't know anything about that.",
    "I have no answer to that. Could you ask about something else?",
    "There is nothing that I can say about that. Could you put it another way?",
)


def recite(request: ChatRequest) -> str:
    """Answer the student's last message from the facts, or politely, or admit to have no answer."""
    messages = [line.text for line in request.lines if line.speaker is Speaker.STUDENT]
    if not messages:
        return _greeting(request.persona_name)
    return (
        _best_sentence(_sentences(request.facts), messages[-1], _recently_said(request))
        or _courtesy(messages[-1])
        or DEFLECTIONS[(len(messages) - 1) % len(DEFLECTIONS)]
    )


def _greeting(name: str) -> str:
    return (
        f"Hello, I'm {name}. What would you like to talk about?"
        if name
        else "Hello! What shall we talk about?"
    )


def _courtesy(message: str) -> str | None:
    return next((answer for pattern, answer in COURTESIES if pattern.search(message)), None)


def _recently_said(request: ChatRequest) -> str:
    said = [line.text for line in request.lines if line.speaker is Speaker.PERSONA]
    return "\n".join(said[-RECENT_LINES:])


def _sentences(facts: str) -> list[str]:
    """Cut the facts into sentences, without the marks of a list."""
    found = (match.group().strip(" \t-*•#>") for match in SENTENCE.finditer(facts))
    return [sentence for sentence in found if WORD.search(sentence)]


def _best_sentence(sentences: Sequence[str], message: str, recently: str) -> str | None:
    """Return the sentence that shares most with the message; a word that few sentences have counts more."""
    asked = set(_stems(message))
    frequency = Counter(stem for sentence in sentences for stem in set(_stems(sentence)))
    scores = {
        sentence: sum(1 / frequency[stem] for stem in asked.intersection(_stems(sentence)))
        for sentence in sentences
        if sentence not in recently
    }
    best = max(scores, key=scores.__getitem__, default=None)
    return best if best is not None and scores[best] > 0 else None


def _stems(text: str) -> Iterator[str]:
    for word in WORD.findall(text.casefold()):
        if word.isdigit():
            yield word
        elif len(word) >= SHORTEST_STEM and word not in COMMON:
            yield ENDINGS.sub("", word) if len(word) > SHORTEST_STEM + 1 else word
